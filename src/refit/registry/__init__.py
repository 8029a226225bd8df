"""The MLflow model registry: versions, aliases, artifacts, tags, and the ledger of decisions.

In: bundles, decisions, people's answers. Out: versions by number, digest or alias, and the ledger.
"""
