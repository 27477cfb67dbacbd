"""A judge behind a fake endpoint, and answers for it to compare."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.core.records import read_rows, write_rows
from apo.judge.settings import Judge
from stages.judge import main
from tests.helpers.fake_endpoint import Respond, Response, completion

ROOT = Path(__file__).parents[2]
COMMITTED = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["judge"]


def settings(**changes: Any) -> Judge:
    """The committed section with a model named."""
    return Judge(**(COMMITTED | {"model": "m", "bootstrap": 100} | changes))


def shown_answers(prompt: str) -> tuple[str, str]:
    """The two answers in a prompt of the committed template, A and B."""
    _, _, rest = prompt.partition(" answer A\n")
    mark = prompt.split("begin with ")[1][:8]
    first, rest = rest.split(f"\n{mark} answer B\n")
    return first, rest.split(f"\n{mark} end")[0]


def prefers(preference: Callable[[str, str], float]) -> Respond:
    """A judge: A if the preference is positive, B if it is negative."""

    def respond(request: dict[str, Any], _: int) -> Response:
        number = preference(*shown_answers(request["messages"][0]["content"]))
        return completion(f"So I say.\nVerdict: {'A' if number > 0 else 'B' if number < 0 else 'tie'}")

    return respond


def write_answers(folder: Path, **texts_by_model: list[str]) -> Path:
    """Answers to queries q0, q1, .. as `evaluate` writes them; the testing RM prefers short ones."""
    for name, texts in texts_by_model.items():
        rows = [
            {
                "query_id": f"q{number}",
                "query": f"\n\nHuman: question {number}\n\nAssistant:",
                "samples": [text],
                "made_by": name,
                "scores": [-float(len(text))],
            }
            for number, text in enumerate(texts)
        ]
        write_rows(folder / f"{name}.jsonl", rows)
    return folder


def write_params(**changes: Any) -> None:
    section = COMMITTED | {"model": "m", "bootstrap": 200} | changes
    Path("params.yaml").write_text(json.dumps({"seed": 1, "judge": section}))


def play(**changes: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Runs the stage on `data/evaluate`; its rows and metrics."""
    write_params(**changes)
    main(Path("data/evaluate"), Path("data/judge/verdicts.jsonl"), Path("metrics/judge.json"))
    content = json.loads(Path("metrics/judge.json").read_text(), parse_constant=pytest.fail)
    assert content.keys() == {"judge"}
    return list(read_rows(Path("data/judge/verdicts.jsonl"))), content["judge"]


def output_bytes() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in ("data/judge/verdicts.jsonl", "metrics/judge.json")}
