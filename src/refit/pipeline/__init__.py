"""The adapter to DVC: stages, their dependencies, ingestion, recovery after kills.

In: dvc.yaml and a stage's name. Out: the stage as it ran, was restored or was cached.
"""
