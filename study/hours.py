"""The GPU hours of the commands of docs/when.md, from the table of docs/scale.md."""

from pathlib import Path

from apo.core.errors import UserError

SCALE = Path(__file__).resolve().parents[1] / "docs/scale.md"
DPO = 1.8
"""Hours of DPO in those of RJS, see docs/scale.md."""
SEEDS = 10
"""Seeds of the commands in docs/when.md."""


def hours_of(model: str, path: Path = SCALE) -> dict[str, str]:
    """GPU hours of the three commands of docs/when.md for 100,000 comparisons, by the table of docs/scale.md.

    A tenth of its row of a million comparisons, which has more digits.

    Raises:
        UserError: The table has no such row or columns.
    """
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header_rows = [row for row in cells if row[:2] == ["model", "comparisons"]]
    model_rows = [row for row in cells if row[:2] == [model, "1,000,000"]]
    if not header_rows or not model_rows:
        raise UserError(
            str(path),
            found=f"no hours of {model} for 1,000,000 comparisons",
            expected="the table of `python -m benchmarks.scale`",
            do="run it, and correct `hours_of` in study/hours.py if its columns changed",
        )
    hours = {
        name: float(text.replace(",", "")) / 10
        for name, text in zip(header_rows[0][2:], model_rows[0][2:], strict=True)
    }
    game, apo, align = hours["all"], hours["train_apo_rm"], hours["align (rjs)"]
    rms = SEEDS * (hours["train_base_rm"] + hours["sample_rm"] + 2 * apo)
    llms = SEEDS * (game + apo + hours["score"] + align) - rms
    by_command = {"all": game, "1": rms, "2": llms, "3": DPO * align}
    return {f"{model} {name}": f"{value:.1f}" for name, value in by_command.items()}
