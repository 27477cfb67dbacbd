"""The payoff matrix: the mean reward that every reward model gives to every language model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from apo.core.errors import UserError
from apo.core.records import Row, read_rows


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
    arms: Mapping[str, Sequence[Row]], counts: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, float]]:
    """One row of the payoff matrix: the mean reward of one RM for the answers of each language model.

    Args:
        arms: Answers with their `rewards`, by the name of their model.
        counts: Counts of the encoder, by the name of the model.

    Returns:
        For each language model `reward_mean`, and the numbers of truncated queries and answers, `queries_cut`
        and `responses_cut`.
    """
    return {
        name: {"reward_mean": fmean(fmean(row["rewards"]) for row in rows)}
        | {key: counts[name].get(key, 0) for key in ("queries_cut", "responses_cut")}
        for name, rows in arms.items()
    }
