"""Measures predictions on the holdout: metrics, intervals and paired comparisons.

In: targets, predictions and blocks of time. Out: values with intervals.
"""
