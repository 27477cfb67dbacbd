"""Section `training` of params.yaml, and the common keys of all trainings."""

from typing import Literal

from apo.core.config import Count, CountOrZero, Fraction, NotNegative, Positive, Section


class Common(Section):
    """Defaults of all trainings; the section of a training may override them."""

    optimizer: Literal["adamw", "muon"]
    beta2: Fraction
    schedule: Literal["linear", "cosine", "constant"]
    weight_decay: NotNegative
    max_grad_norm: Positive
    dtype: Literal["float32", "bfloat16"]


class Lora(Section):
    """Adapters, see `apo.training.lora`; rank 0 trains all weights."""

    rank: CountOrZero
    alpha: Positive
    targets: list[str]


class Optimizer(Common):
    """The keys of every training."""

    lr: Positive
    epochs: Count
    batch_size: Count
    warmup_steps: CountOrZero
