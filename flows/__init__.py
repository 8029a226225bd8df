"""Prefect flows: wiring only. What they run is in src/refit."""
