"""Section `training` of params.yaml, and what every training has."""

from typing import Literal

from apo.core.config import Count, CountOrZero, Fraction, NotNegative, Positive, Section


class Common(Section):
    """What trainings share unless their section has a value of its own."""

    optimizer: Literal["adamw", "muon"]
    beta2: Fraction
    schedule: Literal["linear", "cosine", "constant"]
    weight_decay: NotNegative
    max_grad_norm: Positive


class Lora(Section):
    """Adapters in the place of all weights; see `apo.training.lora`."""

    rank: CountOrZero
    alpha: Positive
    targets: list[str]


class Optimizer(Common):
    """What every training has: warm-up, a schedule to zero, clipping by global norm."""

    lr: Positive
    epochs: Count
    batch_size: Count
    warmup_steps: CountOrZero
