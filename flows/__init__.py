"""Prefect flows: wiring only. What they run stands in src/refit."""
