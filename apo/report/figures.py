"""The curves of a run as plots: Vega-Lite specifications, drawn to SVG without a browser or a network.

`BY_FILE` says what is drawn of a curve file of which name; `figures` adds what is drawn of all together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from apo.report import vega
from apo.report.run import Curve
from apo.report.tables import llms
from apo.report.vega import COLOURS, GREY, Spec

POINTS = 60  # of a training curve, each the mean of the steps around it


@dataclass(frozen=True)
class Figure:
    """A plot: its caption and the SVG."""

    caption: str
    svg: str


def figures(curves: Mapping[str, Curve], metrics: Mapping[str, Any], rounds: Sequence[str]) -> list[Figure]:
    """Every plot that the curves and metrics allow, always the same bytes."""
    curves = {name: curves[name] for name in sorted(curves, key=lambda name: (_round(name, rounds), name))}
    drawn = [scores(metrics, rounds), losses("reward models", _trainings(curves, "training"))]
    drawn.append(losses("language models in alignment", _trainings(curves, "align_")))
    drawn += [losses(name[3:], {name: curves[name]}) for name in START if name in curves]
    for file, draw in BY_FILE.items():
        for name, rows in curves.items():
            folder, _, last = name.rpartition("/")
            if last == file and rows and not _is_repeated(name, rounds):
                drawn.append(draw(whose(folder), rows))
    return [Figure(caption, vega.svg(spec)) for caption, spec in filter(None, drawn)]


def not_drawn(curves: Mapping[str, Curve]) -> list[str]:
    """The curve files that no plot shows."""
    drawn = {*_trainings(curves, "training"), *_trainings(curves, "align_"), *START}
    return [
        name
        for name, rows in sorted(curves.items())
        if name not in drawn and not (rows and name.rpartition("/")[2] in BY_FILE)
    ]


def _is_repeated(name: str, rounds: Sequence[str]) -> bool:
    """Whether a later round holds the same: the LLMs round by round, and what the base RM gives them all."""
    round, _, rest = name.partition("/")
    return round in rounds[:-1] and (rest == "evaluate/rounds" or rest.startswith("payoff/base_rm/"))


def _round(name: str, rounds: Sequence[str]) -> int:
    """The place of the round that a curve is of, 0 for none."""
    first = name.partition("/")[0]
    return rounds.index(first) + 1 if first in rounds else 0


def whose(folder: str) -> str:
    """The model that the curves in a folder are of.

    >>> whose("r1/payoff/apo_rm"), whose("r0/train_base_rm"), whose("r2/align_apo")
    ('APO RM, r1', 'base RM', 'llm_apo, r2')
    """
    round, _, stage = folder.partition("/")
    name = WHOSE.get(stage, stage.replace("align_", "llm_"))
    return name if round == "r0" or name == "base RM" else f"{name}, {round}"


START = ("r0/backbone", "r0/actor")
WHOSE = {
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


def _trainings(curves: Mapping[str, Curve], begins: str) -> dict[str, Curve]:
    return {name: rows for name, rows in curves.items() if name.rpartition("/")[2].startswith(begins)}


def losses(of: str, curves: Mapping[str, Curve]) -> tuple[str, Spec] | None:
    """Training loss by optimizer step, a line for each training."""
    values = [
        {"step": step, "loss": loss, "of": whose(name.removesuffix("/training"))}
        for name, rows in curves.items()
        for step, loss in thinned(
            [(float(row["step"]), float(row["loss"])) for row in rows if row.get("loss")]
        )
    ]
    if not values:
        return None
    return f"Training loss, {of}", vega.plot(
        values,
        mark={"type": "line", "strokeWidth": 1.5},
        encoding={
            "x": vega.axis("step", "optimizer step"),
            "y": vega.axis("loss", "loss", zero=False),
            "color": {"field": "of", "type": "nominal", "legend": {} if len(curves) > 1 else None},
        },
    )


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most so many points, each the mean of neighbours.

    >>> thinned([(1, 4.0), (2, 2.0), (3, 7.0)], most=2)
    [(1.5, 3.0), (3.0, 7.0)]
    """
    size = -(-len(points) // most)
    if size <= 1:
        return list(points)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]


def reliability(of: str, rows: Curve) -> tuple[str, Spec]:
    """How often the RM is right at each of its probabilities; on the diagonal it is calibrated."""
    return _reliability(f"Reliability, {of}", rows)


def reliability_calibrated(of: str, rows: Curve) -> tuple[str, Spec]:
    """The same with the temperature fitted on valid."""
    return _reliability(f"Reliability with temperature, {of}", rows)


def _reliability(caption: str, rows: Curve) -> tuple[str, Spec]:
    values = [
        {
            "probability": float(r["probability"]),
            "frequency": float(r["frequency"]),
            "pairs": int(r["count"]),
            "of": r["split"],
        }
        for r in rows
        if r["probability"] and r["frequency"]
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


def lengths(of: str, rows: Curve) -> tuple[str, Spec]:
    """How many of what the RM was trained on have which length."""
    values = [
        {"from": int(row["from"]), "count": int(row[key]), "of": key}
        for row in rows
        for key in ("queries", "responses", "sequences")
        if row.get(key)
    ]
    return f"Lengths of the training data, {of}", vega.plot(
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
        {"llm": name, "score": one["score_mean"], "low": one["score_low"], "high": one["score_high"]}
        for name, one in llms(metrics, rounds).items()
        if "score_mean" in one
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
    """How often an RM gave which reward, a line for each kind of response."""

    def draw(of: str, rows: Curve) -> tuple[str, Spec]:
        values = [{"reward": float(r["reward"]), "share": float(r["share"]), "of": r["kind"]} for r in rows]
        encoding = {
            "x": vega.axis("reward", "reward", zero=False),
            "y": vega.axis("share", "share of the responses"),
            "color": {"field": "of", "type": "nominal", "sort": None},
        }
        line = {"type": "line", "strokeWidth": 1.5, "interpolate": "step"}
        return f"{desc}, {of}", vega.plot(values, mark=line, encoding=encoding)

    return draw


def margins(of: str, rows: Curve) -> tuple[str, Spec]:
    """How often an RM is right, by how sure it is, beside what its margin promises."""
    values = vega.numbers(rows, "margin", "accuracy", "low", "high", "probability")
    promised = {
        "mark": {"type": "line", "strokeWidth": 1.5, "color": GREY, "strokeDash": [4, 4]},
        "encoding": {"x": vega.axis("margin", "margin"), "y": vega.axis("probability", "", zero=False)},
    }
    layers = [promised, *vega.points("margin", "margin", "accuracy", "part ordered right")]
    return f"Accuracy by margin, with the promised probability, {of}", vega.plot(values, layer=layers)


def truth(of: str, rows: Curve) -> tuple[str, Spec]:
    """The true reward of the LLMs' answers, by the reward that an RM gives them."""
    values = vega.numbers(rows, "reward", "true_reward", "low", "high")
    layers = vega.points("reward", "reward", "true_reward", "true reward")
    return f"True reward by reward, {of}", vega.plot(values, layer=layers)


def game(of: str, rows: Curve) -> tuple[str, Spec]:
    """The LLM of each arm from round to round, by the testing RM."""
    values = [
        {"round": row["round"], "of": row["arm"], **{key: float(row[key]) for key in SCORE}}
        for row in rows
        if row["score"]
    ]
    x = {"field": "round", "type": "ordinal", "sort": None, "title": "round", "axis": {"labelAngle": 0}}
    colour = {"field": "of", "type": "nominal", "sort": None}
    y = vega.axis("score_low", "score by the testing RM", zero=False)
    layers: list[Spec] = [
        {
            "mark": {"type": "rule"},
            "encoding": {"x": x, "y": y, "y2": {"field": "score_high"}, "color": colour},
        },
        {
            "mark": {"type": "line", "point": True, "strokeWidth": 1.5},
            "encoding": {"x": x, "y": y | {"field": "score"}, "color": colour},
        },
    ]
    return f"The game by round, {of}", vega.plot(values, layer=layers)


SCORE = ("score", "score_low", "score_high")


# The name of a curve file, without folder and ending: what is drawn of it, given whose it is and its rows.
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
