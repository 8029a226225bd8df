"""MLflow tracking: the client that is shared, and the run of a training.

In: metrics and parameters. Out: an MLflow run per training.
"""
