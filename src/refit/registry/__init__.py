"""The MLflow model registry: versions, aliases, artifacts, and the ledger of decisions.

In: bundles, decisions, answers of people. Out: versions by number, digest or alias, and the ledger.
"""
