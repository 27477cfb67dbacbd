"""Section `align` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import NotNegative, Positive
from apo.training.settings import Lora, Optimiser, Steps


class Alignment(Steps):
    """Its learning rate is that of the round, under `align_lr`."""

    method: Literal["rjs", "rrhf", "dpo"]
    beta: Positive
    rank_weight: Positive
    sft_weight: NotNegative
    max_length: Annotated[int, Field(ge=8)]
    lora: Lora

    def at(self, lr: float) -> "Align":
        """The settings of one round."""
        return Align(lr=lr, **self.model_dump())


class Align(Alignment, Optimiser):
    """The alignment of one round."""
