"""Sections `evaluate_rm` and `evaluate` of params.yaml."""

from typing import Annotated

from pydantic import Field

from apo.core.config import Count, Section


class EvaluateRM(Section):
    calibration_bins: Annotated[list[Count], Field(min_length=1)]
    bootstrap: Annotated[int, Field(ge=100)]


class Evaluate(Section):
    bootstrap: Annotated[int, Field(ge=100)]
