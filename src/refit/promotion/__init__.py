"""Decides whether a candidate becomes champion: policy, gates, decision, approval.

In: the candidate that the pipeline left, and the champion. Out: one decision with its evidence,
recorded in the registry.
"""
