"""Sections `rm` and `apo` of params.yaml."""

from typing import Annotated, Literal

from pydantic import model_validator

from apo.core.config import Count, CountOrZero, Fraction, NotNegative, Section
from apo.core.data_issues import OnIssue
from apo.reward.token_issues import TOKEN_ISSUES
from apo.training.settings import Lora, Optimizer


class TestingRm(Section):
    """The start checkpoint of the testing RM."""

    start: str


class RewardTraining(Optimizer):
    start: str
    lora: Lora
    on_issue: Annotated[OnIssue, TOKEN_ISSUES.annotation]
    unknown_rate: Fraction
    eval_steps: CountOrZero


class Apo(Section):
    coeff: NotNegative
    num_samples: Count
    kl_coeff: NotNegative
    loss: Literal["ranking", "wgan"]
    init_from: Literal["backbone", "base_rm", "previous"]

    @model_validator(mode="after")
    def _learns(self) -> "Apo":
        if not self.coeff and not self.kl_coeff:
            raise ValueError("coeff or kl_coeff above 0: with neither the APO RM learns nothing")
        return self
