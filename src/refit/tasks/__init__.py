"""What is predicted: one object per task, one file each.

In: targets and predictions. Out: everything that depends on the task: checks and encoding of the
target, the model's output layer and loss, baselines, metrics, plots and thresholds. No other room
compares the name of a task.
"""
