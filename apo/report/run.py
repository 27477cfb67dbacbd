"""Reads a run in the working folder: metrics, curves and transcripts of the stages that ran."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row, decoded, read_rows
from apo.plots.tables import Table, read_curves
from apo.report.transcripts import Truth, judged_answers, scored_samples, unscored_samples

ARMS = ("base", "apo")


@dataclass(frozen=True)
class Run:
    """A run, possibly incomplete.

    Attributes:
        metrics: The metrics files as one document, by their top-level keys.
        curves: Rows of the CSV files by name, see `read_curves`.
        transcripts: Rows of `apo.report.transcripts`.
        missing: Files that do not exist.
    """

    metrics: dict[str, Any]
    curves: dict[str, Table]
    transcripts: list[Row]
    missing: list[str]


def read_run(rounds: Sequence[str], root: Path = Path()) -> Run:
    """The outputs of the stages of these rounds below a folder.

    Raises:
        UserError: A file is malformed.
    """
    curves = read_curves({round: root / "metrics/curves" / round for round in ("r0", *rounds)})
    missing: list[str] = []
    transcripts = [row for round in rounds for row in _transcripts(root, round, missing)]
    return Run(read_metrics(root / "metrics", rounds), curves, transcripts, missing)


def read_metrics(folder: Path, rounds: Sequence[str]) -> dict[str, Any]:
    """The metrics files of round zero and of these rounds as one document.

    Raises:
        UserError: A file is no JSON object.
    """
    metrics: dict[str, Any] = {}
    for directory in (folder, *(folder / round for round in rounds)):
        for file in sorted(directory.glob("*.json")):
            metrics |= _document(file)
    return metrics


def _document(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(decoded(file.read_bytes(), where=str(file)))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(
            str(file), found="no JSON object", expected="one", do="run the stage that writes it again"
        )
    return content


def _transcripts(root: Path, round: str, missing: list[str]) -> Iterator[Row]:
    """The transcripts of one round; files that do not exist are added to `missing`."""

    def by_query(path: Path) -> dict[str, Row]:
        if path.is_file():
            return {row["query_id"]: row for row in read_rows(path)}
        missing.append(path.relative_to(root).as_posix())
        return {}

    def by_arm(kind: str) -> dict[str, dict[str, Row]]:
        return {arm: by_query(root / f"data/{kind}/{round}/{arm}.jsonl") for arm in ARMS}

    golden, truth = root / "data/raw/golden.jsonl", root / "data/raw/truth.json"
    missing += [path.relative_to(root).as_posix() for path in (golden, truth) if not path.is_file()]
    rm_samples = by_query(root / f"data/samples/{round}/rm.jsonl")
    samples, rewards, selected = (by_arm(kind) for kind in ("samples", "scores", "rjs"))
    answers = _answers(root, round, missing)
    query_ids = {name for rows in (rm_samples, *samples.values(), *answers.values()) for name in rows}
    golden_answers = _golden_answers(golden, query_ids) | _golden_answers(
        root / "data/golden.jsonl", query_ids
    )
    true_reward = _true_reward(truth)
    yield from scored_samples(round, samples, rewards, selected, golden_answers, true_reward)
    yield from judged_answers(round, answers, golden_answers)
    yield from unscored_samples(round, rm_samples, golden_answers, true_reward)


def _answers(root: Path, round: str, missing: list[str]) -> dict[str, dict[str, Row]]:
    """The answers to the test queries by LLM and query, the golden answers last."""
    answers: dict[str, dict[str, Row]] = {}
    for folder in ("data/evaluate/r0", *(f"data/answers/{round}/{arm}" for arm in ARMS)):
        if not (root / folder).is_dir():
            missing.append(folder)
        for file in sorted((root / folder).glob("*.jsonl")):
            answers[file.stem] = {row["query_id"]: row for row in read_rows(file)}
    return answers | ({"golden": answers.pop("golden")} if "golden" in answers else {})


def _golden_answers(golden: Path, query_ids: set[str]) -> dict[str, str]:
    rows = read_rows(golden, "golden") if golden.is_file() else ()
    return {row["query_id"]: row["golden"] for row in rows if row["query_id"] in query_ids}


def _true_reward(truth: Path) -> Truth | None:
    if not truth.is_file() or not json.loads(truth.read_text(encoding="utf-8")):
        return None
    from apo.demo import true_reward

    return true_reward
