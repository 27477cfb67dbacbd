"""The curves of a run as plots: Vega-Lite specifications, drawn to SVG without a browser or a network.

`BY_FILE` maps the name of a curve file to its plot; `figures` adds the plots of several files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from apo.report import vega
from apo.report.run import Curve
from apo.report.tables import llms
from apo.report.vega import COLOURS, GREY, Spec

POINTS = 60  # of a training curve, each the mean of adjacent steps


@dataclass(frozen=True)
class Figure:
    """A plot: its caption and the SVG."""

    caption: str
    svg: str


def figures(curves: Mapping[str, Curve], metrics: Mapping[str, Any], rounds: Sequence[str]) -> list[Figure]:
    """Every plot that the curves and metrics allow. The bytes are deterministic."""
    curves = {name: curves[name] for name in sorted(curves, key=lambda name: (_round(name, rounds), name))}
    plots = [scores(metrics, rounds), losses("reward models", _trainings(curves, "training"))]
    plots.append(losses("language models in alignment", _trainings(curves, "align_")))
    plots += [losses(name[3:], {name: curves[name]}) for name in START if name in curves]
    for file, draw in BY_FILE.items():
        for name, rows in curves.items():
            folder, _, last = name.rpartition("/")
            if last == file and rows and not _is_repeated(name, rounds):
                plots.append(draw(model_name(folder), rows))
    return [Figure(caption, vega.svg(spec)) for caption, spec in filter(None, plots)]


def not_drawn(curves: Mapping[str, Curve]) -> list[str]:
    """The curve files that no plot shows."""
    plotted = {*_trainings(curves, "training"), *_trainings(curves, "align_"), *START}
    return [
        name
        for name, rows in sorted(curves.items())
        if name not in plotted and not (rows and name.rpartition("/")[2] in BY_FILE)
    ]


def _is_repeated(name: str, rounds: Sequence[str]) -> bool:
    """Whether a later round has the same curves: those of all rounds, and those of the base RM."""
    round, _, rest = name.partition("/")
    return round in rounds[:-1] and (rest == "evaluate/rounds" or rest.startswith("payoff/base_rm/"))


def _round(name: str, rounds: Sequence[str]) -> int:
    """The number of the round of a curve, 0 for round zero."""
    folder = name.partition("/")[0]
    return rounds.index(folder) + 1 if folder in rounds else 0


def model_name(folder: str) -> str:
    """The model of the curves in a folder.

    >>> [model_name(folder) for folder in ("r1/payoff/apo_rm", "r0/train_base_rm", "r2/align_apo")]
    ['APO RM, r1', 'base RM', 'llm_apo, r2']
    """
    round, _, stage = folder.partition("/")
    name = MODEL_NAMES.get(stage, stage.replace("align_", "llm_"))
    return name if round == "r0" or name == "base RM" else f"{name}, {round}"


START = ("r0/backbone", "r0/actor")
MODEL_NAMES = {
    "train_base_rm": "base RM",
    "evaluate_base_rm": "base RM",
    "payoff/base_rm": "base RM",
    "train_apo_rm": "APO RM",
    "evaluate_apo_rm": "APO RM",
    "payoff/apo_rm": "APO RM",
    "test_rm": "testing RM",
    "evaluate_test_rm": "testing RM",
    "evaluate": "testing RM",
}


def _trainings(curves: Mapping[str, Curve], prefix: str) -> dict[str, Curve]:
    return {name: rows for name, rows in curves.items() if name.rpartition("/")[2].startswith(prefix)}


def losses(group: str, curves: Mapping[str, Curve]) -> tuple[str, Spec] | None:
    """Training loss by optimizer step, a line for each training."""
    values = [
        {"step": step, "loss": loss, "of": model_name(name.removesuffix("/training"))}
        for name, rows in curves.items()
        for step, loss in thinned(
            [(float(row["step"]), float(row["loss"])) for row in rows if row.get("loss")]
        )
    ]
    if not values:
        return None
    return f"Training loss, {group}", vega.plot(
        values,
        mark={"type": "line", "strokeWidth": 1.5},
        encoding={
            "x": vega.axis("step", "optimizer step"),
            "y": vega.axis("loss", "loss", zero=False),
            "color": {"field": "of", "type": "nominal", "legend": {} if len(curves) > 1 else None},
        },
    )


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of adjacent ones.

    >>> thinned([(1, 4.0), (2, 2.0), (3, 7.0)], most=2)
    [(1.5, 3.0), (3.0, 7.0)]
    """
    size = -(-len(points) // most)
    if size <= 1:
        return list(points)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]


def reliability(model: str, rows: Curve) -> tuple[str, Spec]:
    """The accuracy of the RM by its probability; on the diagonal it is calibrated."""
    return _reliability(f"Reliability, {model}", rows)


def reliability_calibrated(model: str, rows: Curve) -> tuple[str, Spec]:
    """The accuracy by probability, with the temperature fitted on valid."""
    return _reliability(f"Reliability with temperature, {model}", rows)


def _reliability(caption: str, rows: Curve) -> tuple[str, Spec]:
    values = [
        {
            "probability": float(row["probability"]),
            "frequency": float(row["frequency"]),
            "pairs": int(row["count"]),
            "of": row["split"],
        }
        for row in rows
        if row["probability"] and row["frequency"]
    ]
    scale = {"domain": [0.5, 1.0]}
    encoding = {
        "x": vega.axis("probability", "probability of the preferred one", scale=scale),
        "y": vega.axis("frequency", "part ordered right", scale={"zero": False}),
        "color": {"field": "of", "type": "nominal"},
    }
    diagonal = {
        "data": {"values": [{"x": 0.5, "y": 0.5}, {"x": 1.0, "y": 1.0}]},
        "mark": {"type": "line", "color": GREY, "strokeDash": [4, 4], "strokeWidth": 1},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative"},
        },
    }
    size = {"field": "pairs", "type": "quantitative", "legend": None, "scale": {"range": [15, 150]}}
    layers = [
        diagonal,
        {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": encoding},
        {"mark": {"type": "point", "filled": True, "opacity": 1}, "encoding": encoding | {"size": size}},
    ]
    return caption, vega.plot(values, layer=layers)


def lengths(model: str, rows: Curve) -> tuple[str, Spec]:
    """Histogram of the lengths of the RM's training data, in tokens."""
    values = [
        {"from": int(row["from"]), "count": int(row[key]), "of": key}
        for row in rows
        for key in ("queries", "responses", "sequences")
        if row.get(key)
    ]
    return f"Lengths of the training data, {model}", vega.plot(
        values,
        mark={"type": "line", "strokeWidth": 1.5, "interpolate": "step-after"},
        encoding={
            "x": vega.axis("from", "tokens, from", scale={"type": "symlog"}),
            "y": vega.axis("count", "texts"),
            "color": {"field": "of", "type": "nominal"},
        },
    )


def scores(metrics: Mapping[str, Any], rounds: Sequence[str]) -> tuple[str, Spec] | None:
    """The score of every LLM by the testing RM with its interval."""
    values = [
        {"llm": name, "score": stats["score_mean"], "low": stats["score_low"], "high": stats["score_high"]}
        for name, stats in llms(metrics, rounds).items()
        if "score_mean" in stats
    ]
    if not values:
        return None
    y = {"field": "llm", "type": "nominal", "sort": None, "title": None}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "color": COLOURS[0], "strokeWidth": 2},
            "encoding": {
                "y": y,
                "x": vega.axis("low", "score by the testing RM", zero=False),
                "x2": {"field": "high"},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": COLOURS[0]},
            "encoding": {"y": y, "x": vega.axis("score", "score by the testing RM", zero=False)},
        },
    ]
    caption = "Language models by the testing RM, with 95 % intervals"
    return caption, vega.plot(values, layer=layers, height={"step": 30})


def histograms(desc: str) -> Callable[[str, Curve], tuple[str, Spec]]:
    """Histogram of the rewards of an RM, a line for each kind of response."""

    def draw(model: str, rows: Curve) -> tuple[str, Spec]:
        values = [
            {"reward": float(row["reward"]), "share": float(row["share"]), "of": row["kind"]} for row in rows
        ]
        encoding = {
            "x": vega.axis("reward", "reward", zero=False),
            "y": vega.axis("share", "share of the responses"),
            "color": {"field": "of", "type": "nominal", "sort": None},
        }
        line = {"type": "line", "strokeWidth": 1.5, "interpolate": "step"}
        return f"{desc}, {model}", vega.plot(values, mark=line, encoding=encoding)

    return draw


def margins(model: str, rows: Curve) -> tuple[str, Spec]:
    """The accuracy of an RM by its margin, beside the probability that the margin implies."""
    values = vega.numbers(rows, "margin", "accuracy", "low", "high", "probability")
    expected = {
        "mark": {"type": "line", "strokeWidth": 1.5, "color": GREY, "strokeDash": [4, 4]},
        "encoding": {"x": vega.axis("margin", "margin"), "y": vega.axis("probability", "", zero=False)},
    }
    layers = [expected, *vega.points("margin", "margin", "accuracy", "part ordered right")]
    return f"Accuracy by margin, with the promised probability, {model}", vega.plot(values, layer=layers)


def truth(model: str, rows: Curve) -> tuple[str, Spec]:
    """The true reward of the LLMs' answers by the reward of an RM."""
    values = vega.numbers(rows, "reward", "true_reward", "low", "high")
    layers = vega.points("reward", "reward", "true_reward", "true reward")
    return f"True reward by reward, {model}", vega.plot(values, layer=layers)


def game(model: str, rows: Curve) -> tuple[str, Spec]:
    """The score of each arm's LLM by round, by the testing RM."""
    values = [
        {"round": row["round"], "of": row["arm"], **{key: float(row[key]) for key in SCORE}}
        for row in rows
        if row["score"]
    ]
    x = {"field": "round", "type": "ordinal", "sort": None, "title": "round", "axis": {"labelAngle": 0}}
    color = {"field": "of", "type": "nominal", "sort": None}
    y = vega.axis("score_low", "score by the testing RM", zero=False)
    layers: list[Spec] = [
        {
            "mark": {"type": "rule"},
            "encoding": {"x": x, "y": y, "y2": {"field": "score_high"}, "color": color},
        },
        {
            "mark": {"type": "line", "point": True, "strokeWidth": 1.5},
            "encoding": {"x": x, "y": y | {"field": "score"}, "color": color},
        },
    ]
    return f"The game by round, {model}", vega.plot(values, layer=layers)


SCORE = ("score", "score_low", "score_high")


# The plot of a curve file, by its name without folder and ending, from its model and its rows.
BY_FILE: dict[str, Callable[[str, Curve], tuple[str, Spec]]] = {
    "rounds": game,
    "reliability": reliability,
    "reliability_calibrated": reliability_calibrated,
    "rewards": histograms("Rewards of chosen and rejected"),
    "margins": margins,
    "golden_samples": histograms("Rewards of golden answers and of the LLMs'"),
    "truth": truth,
    "lengths": lengths,
}
