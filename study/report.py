"""The pages of the study: templates with placeholders for numbers and tables, filled from the kept rows.

A placeholder is `{name}`, `{name[key]}` or `{name:format}` of `str.format`. The names are those of
`study.values` and, under `table`, of `tables`. No sentence has a literal number that a game could change.
"""

from collections.abc import Sequence
from pathlib import Path

from apo.core.errors import UserError
from study.alignment import alignment_table, mean_table, samples_table
from study.claims import claims_table
from study.cost import cost_table
from study.paired import Row
from study.power import power_note, power_table, query_table
from study.settings import Settings
from study.tables import (
    confirmation_table,
    control_table,
    games_table,
    llm_table,
    points_table,
    question_table,
    rm_table,
    sweep_table,
)
from study.transfer_report import contrast_table, gain_table
from study.transfer_spread import spread_table
from study.trend import axis_table, trend_table
from study.values import values

TEMPLATES = Path(__file__).parent / "templates"


def tables(rows: Sequence[Row], transfer: Sequence[Row], settings: Settings) -> dict[str, str]:
    """All tables by name, in Markdown."""
    coefficients = settings.transfer.coefficients
    return {
        "question": question_table(rows),
        "power": f"{power_table(rows)}\n\n{power_note()}",
        "queries": query_table(rows, settings),
        "reward_models": rm_table(rows),
        "language_models": llm_table(rows),
        "claims": claims_table(rows),
        "sweep": sweep_table(rows, settings),
        "control": control_table(rows, settings),
        "trend": trend_table(rows),
        "confirmation": confirmation_table(rows, settings),
        "points": points_table(rows),
        "alignment": alignment_table(rows, settings),
        "alignment_mean": mean_table(rows, settings),
        "samples": samples_table(rows, settings),
        "comparisons": axis_table(rows, settings, "comparisons"),
        "model_size": axis_table(rows, settings, "model_size"),
        "transfer_gain": gain_table(transfer, coefficients),
        "transfer_contrast": contrast_table(transfer, coefficients),
        "transfer_spread": spread_table(transfer, coefficients),
        "games": games_table(rows, settings),
        "cost": cost_table(rows, transfer, settings),
    }


def page(name: str, rows: Sequence[Row], transfer: Sequence[Row], settings: Settings) -> str:
    """A page of docs/ by its file name, from its template.

    Raises:
        UserError: The template names something that does not exist.
    """
    template = TEMPLATES / name
    try:
        return template.read_text(encoding="utf-8").format(
            table=tables(rows, transfer, settings), **values(rows, transfer, settings)
        )
    except (KeyError, ValueError) as error:
        raise UserError(
            str(template),
            found=f"a place for {error}",
            expected="the names of study/values.py and study/report.py",
            do="correct it",
        ) from None
