"""Section `align` of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Count, CountOrZero, NotNegative, Positive, Section, read_section
from apo.core.errors import UserError
from apo.training.settings import Common, Lora, Optimizer


class Method(Section):
    """The settings of alignment that are no settings of the optimizer."""

    method: Literal["rjs", "rrhf", "dpo"]
    beta: Positive
    rank_weight: Positive
    sft_weight: NotNegative
    max_length: Annotated[int, Field(ge=8)]
    lora: Lora


class Alignment(Method):
    """Learning rates are by round; settings that all trainings share are in section `training`."""

    lr: dict[str, Positive]
    epochs: Count
    batch_size: Count
    warmup_steps: CountOrZero


class Align(Method, Optimizer):
    """Settings of the alignment of one round; the settings of the optimizer come first."""


def read_align(params: Path, round: str) -> Align:
    """Reads the settings of one round.

    Raises:
        UserError: A key is unknown, missing or of a wrong kind, or the round has no learning rate.
    """
    alignment, common = read_section(params, "align", Alignment), read_section(params, "training", Common)
    if round not in alignment.lr:
        raise UserError(
            f"{params}: align.lr.{round}",
            found="no such key",
            expected="a learning rate for every round",
            do=f"write it beside {', '.join(alignment.lr) or 'none'}, such as `{round}: 5.0e-4`",
        )
    settings = alignment.model_dump(exclude={"lr"})
    return Align(**common.model_dump(), **settings, lr=alignment.lr[round])
