"""The payoff matrix: the mean reward that every reward model gives to every language model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from apo.core.errors import UserError
from apo.core.records import Row, read_rows
from apo.evaluation.paired import paired_means
from apo.metrics.statistics import paired_bootstrap

ACTOR = "actor"


def read_arms(folder: Path) -> dict[str, list[Row]]:
    """The answers of all language models in a folder, by the name of the file.

    Raises:
        UserError: There are no files.
    """
    arms = {path.stem: list(read_rows(path, "query_id", "query")) for path in sorted(folder.glob("*.jsonl"))}
    if not arms:
        raise UserError(
            str(folder),
            found="no answers",
            expected="a JSON Lines file for each language model",
            do="run `dvc repro`: stages answer_actor, answer and evaluate write them",
        )
    return arms


def payoff_row(
    arms: Mapping[str, Sequence[Row]],
    counts: Mapping[str, Mapping[str, int]],
    *,
    seed: int,
    resamples: int,
) -> dict[str, dict[str, float]]:
    """One row of the payoff matrix: the mean reward of one RM for the answers of each language model.

    Args:
        arms: Answers with their `rewards`, by the name of their model.
        counts: Counts of the encoder, by the name of the model.
        seed, resamples: Of the bootstrap over queries.

    Returns:
        For each language model `reward_mean`, and the numbers of truncated queries and answers, `queries_cut`
        and `responses_cut`; for each but the actor `gain`, its mean reward minus that of the actor, with its
        paired bootstrap 95 % interval, `gain_low` to `gain_high`.
    """
    row = {
        name: {"reward_mean": fmean(fmean(row["rewards"]) for row in rows)}
        | {key: counts[name].get(key, 0) for key in ("queries_cut", "responses_cut")}
        for name, rows in arms.items()
    }
    for name in row.keys() - {ACTOR}:
        rewards, of_actor = paired_means(arms[name], arms[ACTOR], "rewards")
        low, high = paired_bootstrap(rewards, of_actor, seed=seed, resamples=resamples)
        gain = fmean(a - b for a, b in zip(rewards, of_actor, strict=True))
        row[name] |= {"gain": gain, "gain_low": low, "gain_high": high}
    return row
