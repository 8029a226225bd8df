"""The parameters of the training loop."""

from dataclasses import dataclass

from refit.core.params import param


@dataclass(frozen=True, kw_only=True)
class LoopParams:
    """The parameters of the loop; every model that is trained in steps has them in its section."""

    epochs: int = param("passes over the training rows, at most", minimum=1, maximum=10_000)
    patience: int = param(
        "epochs without a better validation loss before stopping", minimum=1, maximum=10_000
    )
    batch_size: int = param("rows of a step", minimum=1, maximum=32_767)
    learning_rate: float = param("peak learning rate", minimum=0, maximum=100)
    warmup_share: float = param("share of all steps with a rising rate", minimum=0, maximum=1)
    weight_decay: float = param("AdamW's decay of matrices", minimum=0, maximum=1_000)
    clip_norm: float = param("largest norm of the whole gradient", minimum=0, maximum=1e6)
