"""One round of a run, or what belongs to no round, read from the files of the stages that are there."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from apo.core.records import Row, read_rows
from apo.report.run import Run, read_found
from apo.report.transcripts import Truth, judged_answers, scored_samples, unscored_samples


def gather_round(
    round: str,
    *,
    metrics: Iterable[Path],
    curves: Iterable[Path],
    golden: Path,
    truth: Path,
    rm_samples: Path,
    samples: Mapping[str, Path],
    scores: Mapping[str, Path],
    selected: Mapping[str, Path],
    answers: Sequence[Path],
) -> Run:
    """Metrics, curves and transcripts of one round; what is not there is listed as missing.

    Args:
        metrics: Files, or folders of them; curves likewise.
        golden: The golden answers to all queries.
        truth: What is known of the true reward; an empty document where nothing is.
        samples: The samples of the LLM queries by arm; scores and selected likewise.
        answers: Folders with the judged answers of LLMs to the test queries, the golden answers last.
    """
    files = [rm_samples, *(path for one in (samples, scores, selected) for path in one.values())]
    missing = [path.as_posix() for path in (golden, truth, *files) if not path.is_file()]
    missing += [path.as_posix() for path in answers if not path.is_dir()]
    rm_rows = _by_query(rm_samples)
    sampled, scored, chosen = (
        {arm: _by_query(path) for arm, path in one.items()} for one in (samples, scores, selected)
    )
    llms = {file.stem: _by_query(file) for path in answers for file in sorted(path.glob("*.jsonl"))}
    llms |= {"golden": llms.pop("golden")} if "golden" in llms else {}
    asked = {query_id for table in (rm_rows, *sampled.values(), *llms.values()) for query_id in table}
    known = {
        row["query_id"]: row["golden"]
        for row in (read_rows(golden, "golden") if golden.is_file() else ())
        if row["query_id"] in asked
    }
    reward = _true_reward(truth)
    transcripts = [
        *scored_samples(round, sampled, scored, chosen, known, reward),
        *judged_answers(round, llms, known),
        *unscored_samples(round, rm_rows, known, reward),
    ]
    return read_found(metrics, curves) + Run({}, {}, transcripts, missing)


def _by_query(path: Path) -> dict[str, Row]:
    return {row["query_id"]: row for row in read_rows(path)} if path.is_file() else {}


def _true_reward(truth: Path) -> Truth | None:
    if not truth.is_file() or not json.loads(truth.read_text(encoding="utf-8")):
        return None
    from apo.demo import true_reward

    return true_reward
