"""MLflow tracking: the shared client, and the run of a training.

In: metrics and parameters. Out: one MLflow run for each training.
"""
