"""What the holdout says of predictions: metrics, intervals, comparisons, curves.

In: targets, predictions and blocks of time. Out: values with intervals, and tables to plot.
"""
