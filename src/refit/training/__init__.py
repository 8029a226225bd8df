"""The training loop for PyTorch modules: optimizer, checkpoints, determinism, stop signals.

In: a module, prepared arrays, parameters. Out: the module with the weights of its best epoch.
"""
