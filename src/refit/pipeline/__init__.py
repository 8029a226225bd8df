"""The adapter to DVC: stages, their dependencies, ingestion, recovery after kills.

In: dvc.yaml and a stage's name. Out: the stage run, restored or found cached.
"""
