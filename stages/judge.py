"""judge: an external language model compares the answers of the game's language models, if one is named.

In: every language model's answers to the test queries. Out: `data/judge/verdicts.jsonl`, one row per query
and pair, with both replies. Metrics: per pair wins, ties and losses, agreement with the testing RM, position
bias, replies without a verdict. With `judge.model: ''` no request is sent and both are empty. Paper,
section 4.2.
"""

import sys
from pathlib import Path
from typing import Any

from apo.core.config import read_section, read_seed
from apo.core.records import Row, write_json, write_rows
from apo.core.stage import run
from apo.endpoint.reply_cache import repository_cache, request_key
from apo.judge.pairs import build_comparisons, read_answers, select_pairs
from apo.judge.prompts import JUDGE, check_template, comparison_requests, verdict_row
from apo.judge.settings import Judge
from apo.judge.verdicts import summarize_verdicts


def main(answers: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")) -> None:
    settings, seed = read_section(params, "judge", Judge), read_seed(params)
    check_template(settings.prompt, source=f"{params}: judge.prompt")
    if settings.model:
        rows, judge_metrics = _judge(settings, answers, params, seed=seed)
    else:
        print("judge: judge.model names no judge, no request is sent")
        rows, judge_metrics = [], {"questions": 0}
    write_rows(out, rows)
    write_json(metrics, {"judge": judge_metrics})


def _judge(settings: Judge, answers: Path, params: Path, *, seed: int) -> tuple[list[Row], dict[str, Any]]:
    """The verdicts and their metrics."""
    from apo.endpoint.client import RefusedError  # a second
    from apo.endpoint.request_all import request_all

    answers_by_model = read_answers(answers)
    pairs = select_pairs(list(answers_by_model), settings.pairs, source=f"{params}: judge.pairs")
    comparisons = list(
        build_comparisons(
            answers_by_model, pairs, max_queries=settings.max_queries, seed=seed, source=str(answers)
        )
    )
    requests = [
        request for comparison in comparisons for request in comparison_requests(settings, comparison)
    ]
    refused: dict[str, RefusedError] = {}
    replies = request_all(requests, repository_cache(JUDGE), JUDGE, refused=refused)
    if refused:
        first = next(iter(refused.values()))
        print(f"judge: {len(refused)} requests were refused, the first: {first.found}", file=sys.stderr)
    rows = [verdict_row(settings, comparison, replies) for comparison in comparisons]
    questions = len({request_key(request) for request in requests})
    return rows, {"questions": questions} | summarize_verdicts(rows, seed=seed, resamples=settings.bootstrap)


if __name__ == "__main__":
    run(main)
