"""Alignment of a small policy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.rankings import select_responses
from apo.alignment.settings import Align
from apo.alignment.train import align
from apo.training.checkpointing import Checkpoints
from apo.training.ranked_responses import RankedResponses

Run = Callable[..., list[dict[str, float]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Aligns in place; each call is another training unless it has a key."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    numbers = iter(range(1000))

    def do(
        model: ResponseLikelihood,
        data: list[RankedResponses],
        chosen: Align,
        *,
        budget: int = 16384,
        key: str | None = None,
    ) -> list[dict[str, float]]:
        monkeypatch.setenv("APO_TOKEN_BUDGET", str(budget))
        with Checkpoints("llm", key or f"key{next(numbers)}").lock() as checkpoints:
            data = [select_responses(ranked, chosen.method) for ranked in data]
            return align(model, data, chosen, seed=1, desc="llm", checkpoints=checkpoints)

    return do
