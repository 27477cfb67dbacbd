"""What every training has in params.yaml."""

from typing import Literal

from apo.core.config import Count, CountOrZero, Fraction, NotNegative, Positive, Section


class Steps(Section):
    """What every training has but its learning rate: warm-up, a schedule to zero, clipping by global norm."""

    optimiser: Literal["adamw", "muon"]
    beta2: Fraction
    epochs: Count
    batch_size: Count
    warmup_steps: CountOrZero
    schedule: Literal["linear", "cosine", "constant"]
    weight_decay: NotNegative
    max_grad_norm: Positive


class Lora(Section):
    """Adapters in the place of all weights; see `apo.training.lora`."""

    rank: CountOrZero
    alpha: Positive
    targets: list[str]


class Optimiser(Steps):
    """What every training has."""

    lr: Positive
