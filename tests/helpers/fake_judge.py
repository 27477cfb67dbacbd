"""A judge behind a fake endpoint, and answers for it to compare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.records import write_rows
from apo.judge.settings import Judge
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
