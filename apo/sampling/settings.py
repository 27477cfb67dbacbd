"""Sections `sample.rm`, `sample.llm` and `sample.test` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Count, CountOrZero, Positive, Section


class Sampling(Section):
    origin: Literal["actor", "source"]
    backend: Literal["transformers", "vllm"]
    max_queries: CountOrZero
    num_samples: Count
    temperature: Positive
    top_k: CountOrZero
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    repetition_penalty: Positive
    max_new_tokens: Count
    max_prompt_tokens: Count
