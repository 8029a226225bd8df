"""The model protocol and the built-in models, one file each.

In: prepared arrays and a section of params.yaml. Out: a fitted model that predicts, is saved as
plain data and exports itself to ONNX.
"""
