"""Shared parts of the Vega-Lite specifications of a report, and their rendering to SVG."""

from typing import Any

import vl_convert

from apo.report.run import Curve

Spec = dict[str, Any]
GREY = "#7d8590"
COLOURS = ["#4a7fd4", "#d9792e", "#2f9e77", "#b45fa5", "#9a8f2a", GREY]
CONFIG: Spec = {
    "background": None,
    "font": "Liberation Sans",  # comes with vl_convert, so that widths are the same on every machine
    "view": {"stroke": None},
    "axis": {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "tickCount": 5},
    "legend": {"orient": "bottom", "title": None, "labelFontSize": 11, "columns": 3, "labelLimit": 220},
    "range": {"category": COLOURS},
}


def points(x: str, x_title: str, y: str, y_title: str) -> list[Spec]:
    """Points with the interval `low` to `high` of each."""
    x_axis, y_axis = axis(x, x_title, zero=False), axis(y, y_title, zero=False)
    return [
        {
            "mark": {"type": "rule", "color": COLOURS[0]},
            "encoding": {"x": x_axis, "y": y_axis | {"field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "line", "color": COLOURS[0], "strokeWidth": 1.5, "point": {"color": COLOURS[0]}},
            "encoding": {"x": x_axis, "y": y_axis},
        },
    ]


def numbers(rows: Curve, *keys: str) -> list[Spec]:
    """The given keys of the rows as numbers, without empty ones."""
    return [{key: float(row[key]) for key in keys if row.get(key)} for row in rows]


def axis(field: str, title: str, *, zero: bool = True, scale: Spec | None = None) -> Spec:
    """The encoding of a quantitative field."""
    return {"field": field, "type": "quantitative", "title": title, "scale": scale or {"zero": zero}}


def plot(values: list[Spec], **properties: Any) -> Spec:
    """A specification with its data and further properties."""
    return {"data": {"values": values}, "width": 280, "height": 200, **properties}


def svg(spec: Spec) -> str:
    """The SVG of a specification."""
    image: str = vl_convert.vegalite_to_svg(spec | {"config": CONFIG}, vl_version="6.4")
    return image
