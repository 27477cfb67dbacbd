"""Section `split` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Fraction, Section


class Split(Section):
    rm_fraction: Fraction
    valid_fraction: Fraction
    test_fraction: Fraction
    near_duplicate: Annotated[float, Field(gt=0.0, le=1.0)]
    shared_first_turn: Literal["keep", "drop"]
    without_golden: Literal["error", "skip"]
