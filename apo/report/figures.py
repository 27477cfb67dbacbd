"""The plots of a report as SVG: those of `dvc plots`, from the same templates, and two more.

The plots of `dvc plots` are defined in dvc.yaml, and their templates are in .dvc/plots. No browser and no
network is needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert
from dvc_render.vega import VegaRenderer  # type: ignore[import-untyped]

from apo.core.config import read_all
from apo.plots.html_template import VEGA_LITE
from apo.plots.tables import COLUMNS, Table, join
from apo.report.tables import llms

REPOSITORY = Path(__file__).parents[2]
CONFIG: dict[str, Any] = {
    "background": None,
    # The first comes with vl_convert, so that widths are the same on every machine. The next two are as wide.
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 11, "titleFontSize": 12, "tickCount": 5},
    "legend": {"labelFontSize": 11, "title": None},
    "header": {"labelFontSize": 12},
    "rule": {"color": "#4c78a8"},  # as points and lines; Vega's are black, which can't be seen in the dark
}
"""The defaults of all plots. A template replaces whole sections of it."""


@dataclass(frozen=True)
class Plot:
    """A plot as a Vega-Lite specification.

    Attributes:
        name: Its name in dvc.yaml, or `scores` or `lengths`.
        spec: The specification, with its data.
    """

    name: str
    caption: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A plot as SVG. `name` and `caption` are those of `Plot`."""

    name: str
    caption: str
    svg: str


def figures(curves: Mapping[str, Table], metrics: Mapping[str, Any], rounds: Sequence[str]) -> list[Figure]:
    """Every plot that the curves and metrics allow. The bytes are deterministic."""
    plots = [scores(metrics, rounds), *dvc_plots(join_rounds(curves, rounds)), lengths(curves, rounds)]
    return [Figure(plot.name, plot.caption, _svg(plot.spec)) for plot in plots if plot]


def _svg(spec: Mapping[str, Any]) -> str:
    configured = {**spec, "config": CONFIG | spec.get("config", {})}
    svg: str = vl_convert.vegalite_to_svg(configured, vl_version=VEGA_LITE)
    return svg


def join_rounds(curves: Mapping[str, Table], rounds: Sequence[str]) -> dict[str, Table]:
    """The tables of `dvc plots`, as the stages `tables` and `plots` write them after the last round.

    A model that has no row in a round yet, and a table without any, keeps those of the round before.
    """
    tables: dict[str, Table] = {}
    for round in rounds:
        joined = join(curves, round, rounds=rounds, before=tables)
        texts = {name: [_as_text(row, COLUMNS[name]) for row in rows] for name, rows in joined.items()}
        tables = {name: _with_kept(tables.get(name, []), rows) for name, rows in texts.items()}
    return tables


def _with_kept(before: Table, rows: Table) -> Table:
    """The rows, after those of the round before whose model, one of round zero, they lack."""
    models = {row.get("model") for row in rows}
    return [*(row for row in before if row.get("model") not in models), *rows]


def _as_text(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """The row as it is read from CSV."""
    return dict.fromkeys(columns, "") | {key: str(value) for key, value in row.items()}


def dvc_plots(tables: Mapping[str, Table]) -> Iterator[Plot]:
    """The plots of dvc.yaml that have a value to show."""
    for entry in read_all(REPOSITORY / "dvc.yaml")["plots"]:
        for name, plot in entry.items():
            ((path, column),) = plot["y"].items()
            rows = [row | {"rev": "workspace"} for row in tables.get(Path(path).stem, [])]
            if any(row[column] for row in rows):
                properties = plot | {"y": column, "template_dir": str(REPOSITORY / ".dvc/plots")}
                spec = VegaRenderer(rows, name, **properties).get_filled_template()
                yield Plot(name, plot["title"], _without_revisions(spec) | {"title": None})


def _without_revisions(node: Any) -> Any:
    """A part of a specification without the channels that distinguish revisions: a report shows one run."""
    if isinstance(node, dict):
        return {key: _without_revisions(value) for key, value in node.items() if not _is_revision(value)}
    if isinstance(node, list):
        return [_without_revisions(value) for value in node if not _is_revision(value)]
    return node


def _is_revision(channel: Any) -> bool:
    return isinstance(channel, dict) and channel.get("field") == "rev"


def scores(metrics: Mapping[str, Any], rounds: Sequence[str]) -> Plot | None:
    """The score of every LLM by the testing RM with its interval."""
    values = [
        {"llm": name, "score": stats["score_mean"], "low": stats["score_low"], "high": stats["score_high"]}
        for name, stats in llms(metrics, rounds).items()
        if "score_mean" in stats
    ]
    if not values:
        return None
    y = {"field": "llm", "type": "nominal", "sort": None, "title": None}
    x = {"type": "quantitative", "title": "score by the testing RM", "scale": {"zero": False}}
    interval = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {"y": y, "x": x | {"field": "low"}, "x2": {"field": "high"}},
    }
    mean = {
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
        "encoding": {"y": y, "x": x | {"field": "score"}},
    }
    spec = {"data": {"values": values}, "width": 280, "height": {"step": 30}, "layer": [interval, mean]}
    return Plot("scores", "Language models by the testing RM, with 95 % intervals", spec)


def lengths(curves: Mapping[str, Table], rounds: Sequence[str]) -> Plot | None:
    """Histograms of the lengths of each RM's training data, in tokens."""
    folders = {"base_rm": "r0/train_base_rm", "test_rm": "r0/test_rm"}
    folders |= {f"apo_rm_{round}": f"{round}/train_apo_rm" for round in rounds}
    values = [
        {"model": model, "kind": kind, "from": int(row["from"]), "count": int(row[kind])}
        for model, folder in folders.items()
        for row in curves.get(f"{folder}/lengths", [])
        for kind in ("queries", "responses", "sequences")
        if row.get(kind)
    ]
    if not values:
        return None
    tokens = {
        "field": "from",
        "title": "tokens, at least",
        "scale": {"type": "symlog"},
        "axis": {"labelSeparation": 6},
    }
    histogram = {
        "width": 200,
        "height": 150,
        "mark": {"type": "line", "strokeWidth": 1.5, "interpolate": "step-after"},
        "encoding": {
            "x": tokens | {"type": "quantitative"},
            "y": {"field": "count", "type": "quantitative", "title": "texts", "axis": {"titlePadding": 10}},
            "color": {"field": "kind", "type": "nominal"},
        },
    }
    by_model = {"field": "model", "type": "nominal", "sort": list(folders), "title": None}
    spec = {"data": {"values": values}, "facet": by_model, "columns": 4, "spec": histogram}
    return Plot("lengths", "Lengths of the training data of the reward models", spec)
