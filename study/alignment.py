"""The set `alignment`: LLMs aligned at the coefficient whose choice is better, and at its control."""

from collections.abc import Sequence

from study.markdown import HEAD, columns, means, p_text, table
from study.paired import APO, Row, against_zero, difference, games_of, mean_over, of_arm
from study.settings import Settings, alignment_name
from study.statistics import Paired, holm
from study.tables import CELLS

MEAN = "mean over the cells"


def alignment_results(rows: Sequence[Row], settings: Settings) -> dict[str, Paired]:
    """True reward of the LLM of the APO arm, at the first coefficient minus at the control, same seed.

    Returns:
        By cell, such as `rjs 1`, and `MEAN`, one number a seed. What fewer than two seeds have played is
        left out.
    """
    first, control = settings.alignment.coefficients
    results, cells = {}, []
    for method, round in CELLS:
        value = of_arm("llm_true_reward", round, APO)
        games, control_games = (
            games_of(rows, "alignment", alignment_name(method, coefficient))
            for coefficient in (first, control)
        )
        result = difference(games, value, control_games, value)
        if result:
            results[f"{method} {round[1:]}"] = result
            gains = {
                seed: {"gain": value(games[seed]) - value(control_games[seed])}
                for seed in games.keys() & control_games.keys()
            }
            cells.append((gains, lambda row: float(row["gain"])))
    mean = against_zero(list(mean_over(cells).values()))
    return results | ({MEAN: mean} if mean else {})


def alignment_table(rows: Sequence[Row], settings: Settings) -> str:
    """The differences of the cells with Holm's p over them, and the mean, which decides."""
    first, control = settings.alignment.coefficients
    results = alignment_results(rows, settings)
    mean = results.pop(MEAN, None)
    corrected = holm([result.p for result in results.values()])
    lines = [
        [*name.split(), *means(result), *columns(result), p_text(p)]
        for (name, result), p in zip(results.items(), corrected, strict=True)
    ]
    if mean:
        lines.append([MEAN, "", "", "", *columns(mean), ""])
    return table(["method", "round", f"coeff {control:g}", f"coeff {first:g}", *HEAD, "Holm"], lines)
