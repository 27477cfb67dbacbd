"""What golden answers weigh beside human comparisons in the games of the study."""

from collections.abc import Sequence

from study.paired import APO, Row, difference, gains_over, games_of, of_arm, read_gain
from study.settings import Settings, axis_name
from study.statistics import Paired

WEIGHTS = {
    "coeff 2": 0.989,
    "1 sample a query": 0.999,
    "8 samples a query": 0.985,
    "few": 0.999,
    "middle": 0.986,
    "many": 0.955,
}
"""What a golden > sample pair weighs beside a human pair, as a part of what `apo.coeff` says: in three
settings of the sweep, and in `comparisons` with 240, 1,200 and 4,800, of seed 1; `python -m study.weights`,
"each kind by itself"."""


def weight_probe(rows: Sequence[Row], settings: Settings) -> Paired | None:
    """The gain over coeff 0 with 240 comparisons at 0.1 minus that with 4,800 at 2, at about one weight."""
    chosen = of_arm("chosen", "r1", APO)
    few, few_control, many, many_control = (
        games_of(rows, "comparisons", axis_name(settings.comparisons, value, coefficient))
        for value, coefficient in ((240, 0.1), (240, 0.0), (4800, 2.0), (4800, 0.0))
    )
    gains = gains_over(few, chosen, few_control, chosen), gains_over(many, chosen, many_control, chosen)
    return difference(gains[0], read_gain, gains[1], read_gain)


def golden_weights(settings: Settings) -> dict[str, float]:
    """What all golden answers weigh beside all human comparisons, by coefficient and number of these."""
    axis, weights = settings.comparisons, (WEIGHTS[name] for name in ("few", "middle", "many"))
    of_a_pair = dict(zip(sorted(axis.values), weights, strict=True))
    golden = axis.changes["sample.rm.max_queries"]
    return {
        f"{coefficient:g} {value}": coefficient * weight * golden / value
        for coefficient in axis.coefficients
        for value, weight in of_a_pair.items()
    }
