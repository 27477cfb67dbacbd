"""Section `score` of params.yaml and the gate."""

from typing import Annotated

from pydantic import Field

from apo.core.config import Count, Section


class Gate(Section):
    """The part of section `rm` that scoring reads."""

    max_ece: Annotated[float, Field(ge=0.0, le=1.0)]
    max_ece_bins: Count


class Score(Section):
    extra_answers: bool
