"""judge: a language model from outside compares the answers of two of the game's, where one is named.

In: every language model's answers to the test queries. Out: `data/judge/verdicts.jsonl`, one row a query and
pair, with both replies. Metrics: per pair win, tie and lose, agreement with the testing RM, position bias,
replies without a verdict. With `judge.model: ''` nothing is asked and both are empty. Paper, section 4.2.
"""

from pathlib import Path
from typing import Any

from apo.core.config import read_section, read_seed
from apo.core.records import Row, write_json, write_rows
from apo.core.stage import run
from apo.judge.answers import comparisons, pairs_of, read_answers
from apo.judge.asking import check_template, questions, verdict_row
from apo.judge.replies import ask_all, key_of, repository_cache
from apo.judge.settings import Judge
from apo.judge.verdicts import summarise_verdicts


def main(answers: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")) -> None:
    settings, seed = read_section(params, "judge", Judge), read_seed(params)
    check_template(settings.prompt, where=f"{params}: judge.prompt")
    rows: list[Row] = []
    found: dict[str, Any] = {"questions": 0}
    if settings.model:
        arms = read_answers(answers)
        pairs = pairs_of(list(arms), settings.pairs, where=f"{params}: judge.pairs")
        compared = list(
            comparisons(arms, pairs, max_queries=settings.max_queries, seed=seed, where=str(answers))
        )
        bodies = {key_of(body): body for one in compared for body in questions(settings, one)}
        replies = ask_all(bodies.values(), repository_cache())
        rows = [verdict_row(settings, one, replies) for one in compared]
        found = {"questions": len(bodies)} | summarise_verdicts(rows, seed=seed, resamples=settings.bootstrap)
    else:
        print("judge: none is named (judge.model), nothing is asked")
    write_rows(out, rows)
    write_json(metrics, {"judge": found})


if __name__ == "__main__":
    run(main)
