"""The command line: one module per topic, each command a few lines.

In: arguments and options. Out: lines on the terminal and an exit status. The work itself is done in
workflow, promotion, reproducibility and review.
"""
