"""Decides about promotion: find a recorded decision, or judge the candidate and record the outcome.

In: the bundle that the pipeline left, the champion and the policy. Out: a decision with its
evidence, recorded on the version and in the ledger.
"""
