"""The gates of the policy, one kind per file.

In: candidate and rival, scored on the same rows, and the policy. Out: what was measured, its limit,
and whether the candidate passes.
"""
