"""Sections `rm` and `apo` of params.yaml."""

from typing import Literal

from apo.core.config import Count, CountOrZero, Fraction, NotNegative, Policy, Section
from apo.training.settings import Lora, Optimizer


class TokenFindings(Section):
    """What to do about each code of `apo.reward.token_checks`."""

    equal_responses: Policy
    repeated_responses: Policy
    golden_equals_sample: Policy
    empty_response: Policy
    response_cut: Policy
    query_cut_away: Policy
    special_token_text: Policy
    special_token_id: Literal["error", "drop"]
    unknown_tokens: Policy
    lost_separator: Literal["error", "keep"]
    pad_is_end_token: Literal["error", "keep"]


class RewardTraining(Optimizer):
    lora: Lora
    findings: TokenFindings
    unknown_rate: Fraction
    eval_steps: CountOrZero


class Apo(Section):
    coeff: NotNegative
    num_samples: Count
    kl_coeff: NotNegative
    loss: Literal["ranking", "wgan"]
    init_from: Literal["backbone", "base_rm", "previous"]
