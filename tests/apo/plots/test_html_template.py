"""apo/plots/html_template.py: a template is compiled as the page of the plots compiles it."""

import re
import xml.etree.ElementTree as ElementTree

import vl_convert
from dvc_render.vega import VegaRenderer

from apo.plots.html_template import VEGA_LITE
from tests.helpers.import_closure import ROOT


def test_histogram_template_leaves_the_place_of_a_missing_model_empty() -> None:
    """Vega fills a grid one place after the other: were one missing, others would stand under its name."""
    models = {"HEAD": ["base_rm"], "other": ["base_rm", "apo_rm_r2"]}
    rows = [
        {"rev": rev, "model": model, "kind": kind, "reward": str(reward), "share": "0.5", "count": "1"}
        for rev, parts in models.items()
        for model in parts
        for kind in ("chosen", "rejected")
        for reward in (0.5, 1.5)
    ]
    plot = {"x": "reward", "y": "share", "title": "rewards", "x_label": "reward", "y_label": "share"}
    folder = str(ROOT / ".dvc/plots")
    renderer = VegaRenderer(rows, "rewards", template="histograms", template_dir=folder, **plot)
    svg = vl_convert.vegalite_to_svg(renderer.get_filled_template(), vl_version=VEGA_LITE)
    root = ElementTree.fromstring(svg)
    (grid,) = [group for group in root.iter() if "cell" in (group.get("class") or "").split()]
    areas = [
        [path for group in cell.iter() if "mark-area" in (group.get("class") or "") for path in group]
        for cell in grid
    ]
    shown = [
        {
            re.sub(r".*revision: (\w+); model: (\w+);.*", r"\1 \2", path.get("aria-label") or "")
            for path in parts
        }
        for parts in areas
    ]
    assert shown == [{"HEAD base_rm"}, {"HEAD apo_rm_r2"}, {"other base_rm"}, {"other apo_rm_r2"}]
    assert [all(path.get("d") for path in parts) for parts in areas] == [True, False, True, True]
