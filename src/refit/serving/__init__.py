"""The bundle, which is what is served: one ONNX file from raw columns to the prediction.

In: a fitted encoder and model. Out: a bundle on disk, and predictions from it.
"""
