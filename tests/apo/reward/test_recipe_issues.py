"""apo/reward/recipe.py: comparisons with token issues are counted, dropped and written."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.core.data_issues import EXAMPLES
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.reward.recipe import _tokenized, train_rm
from apo.reward.settings import Apo
from apo.training.outputs import Outputs
from tests.helpers import tiny_models as tiny
from tests.helpers.token_checks import CODES, QUERY, check_of


def test_train_rm_counts_drops_and_writes_issues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight rows four train; the golden items lose a sample and an item."""
    from ruamel.yaml import YAML

    params = YAML(typ="safe").load((Path(__file__).parents[3] / "params.yaml").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APO_DEVICE", "cpu")
    tiny.backbone(Path("backbone"))

    def row(*responses: str, scores: list[float] | None = None) -> dict[str, Any]:
        return {
            "query": QUERY,
            "responses": list(responses),
            "scores": scores or [1.0, 0.0, 0.0][: len(responses)],
        }

    long = "1 2 3 4 5 6 7 8 9 " * 5
    human = [
        row("3", "no"),
        row("3", "3"),  # equal
        row("4", "no"),
        row("3", long),  # cut: one response is left
        row("3", long, "no"),  # cut: two are left
        row("3", "4", scores=[1.0, 1.0]),  # no pair, as before
        row("3", "\u200b\u200b"),
        row("3", ""),  # empty
    ]
    golden = [row("3", "no", "3"), row("3", "3"), row("4", "no", "no")]
    write_rows(Path("train.jsonl"), human)
    write_rows(Path("golden.jsonl"), golden)
    sections = {"model": params["model"] | {"max_length": 48}, "rm": params["rm"] | {"warmup_steps": 0}}
    Path("params.yaml").write_text(json.dumps({"seed": 1, "training": params["training"], **sections}))
    train_rm(
        "apo_rm",
        start=Path("backbone"),
        comparisons=[Path("train.jsonl")],
        adversarial_pairs=[Path("golden.jsonl")],
        apo=Apo(**params["apo"]),
        outputs=Outputs(Path("rm"), Path("curves"), Path("metrics.json")),
        params=Path("params.yaml"),
    )
    metrics = json.loads(Path("metrics.json").read_text())["train_apo_rm"]
    train = metrics["train"]
    assert (train["human_pairs"], train["apo_pairs"], train["items"]) == (4, 3, 6)
    assert (train["dropped_by_issues"], train["dropped_without_pair"]) == (4, 1)
    assert train["responses_cut"] == 0
    counts = {code: count for code, count in metrics["issues"].items() if count}
    assert list(metrics["issues"]) == CODES
    assert counts == {
        "equal_responses": 1,
        "repeated_responses": 1,
        "golden_equals_sample": 2,
        "empty_response": 1,
        "response_cut": 2,
    }
    examples = list(read_rows(Path("curves/issues.jsonl")))
    assert len(examples) == 7 <= EXAMPLES
    assert examples[0] == {
        "code": "equal_responses",
        "action": "drop",
        "where": "train.jsonl:2",
        "found": "responses 1, 2: '3'",
    }
    lines = Path("curves/lengths.csv").read_text().splitlines()
    assert lines[0] == "from,to,queries,responses,sequences"
    totals = [sum(int(line.split(",")[column]) for line in lines[1:]) for column in (2, 3, 4)]
    assert totals == [10, 23, 23]  # all rows that have a pair


def test_tokenized_keeps_scores_with_their_responses(tmp_path: Path) -> None:
    """The first response goes, and with it the query has its place back."""
    encoder, path = tiny.encoder(max_length=40), tmp_path / "train.jsonl"
    row = {"query": QUERY, "responses": ["1 2 3 4 5 6 7 8 9 " * 5, "no", "3"], "scores": [2.0, 0.0, 1.0]}
    write_rows(path, [row])
    counts: Counter[str] = Counter()
    [one] = _tokenized(encoder, check_of(encoder, "drop"), [path], counts)[path]
    [alone] = encoder.items([(QUERY, ["no", "3"])], Counter(), where="")
    assert (one.item, one.labels, one.pairs) == (alone, [0.0, 1.0], 1)
    assert counts == Counter(items=1, human_pairs=1, tokens=alone.unpacked_tokens)


def test_tokenized_says_what_dropped_everything(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_rows(path, [{"query": QUERY, "responses": ["3", "3"], "scores": [1.0, 0.0]}])
    check = check_of(tiny.encoder(), "drop")
    with pytest.raises(UserError, match=r"no comparison to train on.*dropped 1: \{'equal_responses': 1\}"):
        _tokenized(tiny.encoder(), check, [path], Counter())
