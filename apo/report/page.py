"""The page: tables and plots as plain HTML, the transcripts as JSON that a script of the page shows.

Beside this file stand its form (page.html), its looks (page.css) and its script (page.js). The same run gives
the same bytes.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from apo.core.records import Row
from apo.report.figures import figures, not_drawn
from apo.report.missing import missing_stages, stages_of
from apo.report.run import Run
from apo.report.summary import verdict
from apo.report.tables import Table, everything, number, parameters, tables
from apo.report.transcript_counts import choices
from apo.report.transcripts import MEASURES

HERE = Path(__file__).parent
DIGITS = 4  # of rewards in the page; the files have all


def build_page(run: Run, shown: Sequence[Row], settings: Mapping[str, Any]) -> str:
    """The report as one HTML document.

    Args:
        run: All that is known of the run.
        shown: Those of its transcripts that go into the page.
        settings: All sections of params.yaml.
    """
    rounds = [one["id"] for one in settings["rounds"]]
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    of_metrics = tables(run.metrics, rounds)
    parts = {
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "script": script,
        "script_hash": f"sha256-{digest}",
        "verdict": _verdicts(run.metrics, rounds),
        "navigation": _navigation(of_metrics),
        "missing": _missing(run, rounds),
        "tables": "\n".join(_section(table) for table in of_metrics),
        "figures": _figures(run, rounds),
        "transcripts": _about_transcripts(run.transcripts, shown),
        "data": as_json({"measures": MEASURES, "rows": [_rounded(row) for row in shown]}),
        "parameters": _parameters(run.metrics, settings, rounds),
        "everything": "\n".join(_folded(table) for table in everything(run.metrics)),
    }
    form = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], form)


def as_json(content: Any) -> str:
    """JSON that can stand in a script element: no `<`, `>` or `&`, and no line separator of JavaScript.

    >>> as_json(["</script><!--"])
    '["\\\\u003c/script\\\\u003e\\\\u003c!--"]'
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _rounded(row: Row) -> Row:
    """The row with rewards as long as a reader needs them."""
    rewards = {
        who: [None if x is None else round(x, DIGITS) for x in given] for who, given in row["rewards"].items()
    }
    return row | {
        "rewards": rewards,
        "measures": {key: round(x, DIGITS) for key, x in row["measures"].items()},
    }


def _verdicts(metrics: Mapping[str, Any], rounds: Sequence[str]) -> str:
    """Who won, the last round first."""
    told: list[str] = []
    for one in reversed(rounds):
        found = metrics.get(f"evaluate_{one}", {})
        if f"llm_apo_{one}_vs_llm_base_{one}" in found:
            name, first, *rest = verdict(found, one).splitlines()
            kind = "note" if told else "verdict"
            told.append(f'<p class="{kind}">{escape(f"{name} {first.strip()}")}</p>')
            told += [f'<p class="note">{escape(line.strip())}</p>' for line in rest]
    return "\n".join(told) or '<p class="verdict">Nobody has won: no round of this run was evaluated.</p>'


def _navigation(shown: Sequence[Table]) -> str:
    links = [(_slug(table), table.title) for table in shown]
    links += [
        ("plots", "Plots"),
        ("transcripts", "Transcripts"),
        ("parameters", "Parameters"),
        ("metrics", "All metrics"),
    ]
    return "".join(f'<a href="#{slug}">{escape(title)}</a>' for slug, title in links)


def _missing(run: Run, rounds: Sequence[str]) -> str:
    stages = [f"stage {escape(stage)}: no metrics" for stage in missing_stages(run.metrics, rounds)]
    files = [f"file <code>{escape(path)}</code>" for path in run.missing]
    if not stages and not files:
        return ""
    items = "".join(f"<li>{one}</li>" for one in stages + files)
    return (
        '<section class="warning" id="missing"><h2>This run is not whole</h2>'
        f"<p>The rest is shown. Not there:</p><ul>{items}</ul>"
        "<p><code>dvc repro</code> makes it.</p></section>"
    )


def _section(table: Table) -> str:
    slug = _slug(table)
    return (
        f'<section id="{slug}" aria-labelledby="{slug}-title">'
        f'<h2 id="{slug}-title">{escape(table.title)}</h2>'
        f'<p class="note">{escape(table.note)}</p>{_table(table.head, table.rows, table.title)}</section>'
    )


def _slug(table: Table) -> str:
    return re.sub(r"\W+", "-", table.title.lower())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], label: str, kind: str = "") -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = ""
    for name, *cells in rows:
        rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        body += f'<tr><th scope="row">{escape(name)}</th>{rest}</tr>\n'
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}"><table class="{kind}">'
        f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _folded(table: Table, kind: str = "") -> str:
    title = f'{escape(table.title)}<span class="note">{len(table.rows)}</span>'
    inside = _table(table.head, table.rows, table.title, kind)
    return f"<details><summary>{title}</summary>{inside}</details>"


def _figures(run: Run, rounds: Sequence[str]) -> str:
    drawn = [
        f"<figure><figcaption>{escape(one.caption)}</figcaption>"
        f'{one.svg.replace("<svg ", f"""<svg role="img" aria-label="{escape(one.caption)}" """, 1)}</figure>'
        for one in figures(run.curves, run.metrics, rounds)
    ]
    text = (
        f'<div class="figures">{"".join(drawn)}</div>'
        if drawn
        else '<p class="note">This run has no curves.</p>'
    )
    rest = not_drawn(run.curves)
    return text + (f'<p class="note">Not drawn: {escape(", ".join(rest))}.</p>' if rest else "")


def _about_transcripts(rows: Sequence[Row], shown: Sequence[Row]) -> str:
    """What there is to browse, by round and split, and in what the two RMs differ."""
    if not rows:
        return '<p class="note">This run has none.</p>'
    words = {
        "llm": "LLM queries, which the RMs rate",
        "test": "test queries",
        "rm": "RM queries, which the APO RM learns from",
    }
    cells = []
    for one, split in dict.fromkeys((row["round"], row["split"]) for row in rows):
        own = [row for row in rows if (row["round"], row["split"]) == (one, split)]
        same, other = choices(own)
        compared = [number(same), number(other)] if same + other else ["", ""]
        cells.append([f"{one}, {words[split]}", number(len(own)), *compared])
    head = ["", "transcripts", "both RMs chose the same", "chose differently"]
    left_out = len(rows) - len(shown)
    cut = f"{left_out:,} transcripts are left out of the page (<code>report.max_transcripts</code>). "
    about = (
        "Two RMs disagree by what each loses, in its own rewards, by the choice of the other: 0 where both "
        "choose the same. Where the arms have other samples, each RM rates its own: no comparison."
    )
    return (
        _table(head, cells, "Transcripts by split") + f'<p class="note">{cut if left_out else ""}{about}</p>'
    )


def _parameters(metrics: Mapping[str, Any], settings: Mapping[str, Any], rounds: Sequence[str]) -> str:
    ran = [stage for key, stage in stages_of(rounds).items() if key in metrics]
    shared = [stage for stage in ran if " of round " not in stage]
    lists = [["all rounds", ", ".join(shared) or "none"]]
    for one in rounds:
        own = [stage.split(" of ")[0] for stage in ran if stage.endswith(f" of round {one}")]
        lists.append([f"round {one}", ", ".join(own) or "none"])
    text = _table(["", "stages that left metrics"], lists, "Stages", "texts")
    if "judge" in metrics and not metrics["judge"].get("questions"):
        text += '<p class="note">No judge from outside was named (<code>judge.model</code>).</p>'
    single = [
        parameters(name, values)[0] for name, values in settings.items() if not isinstance(values, dict)
    ]
    text += _table(["parameter", "value"], single, "Parameters", "texts")
    for section, values in settings.items():
        if isinstance(values, dict):
            text += _folded(Table(section, "", ["parameter", "value"], parameters(section, values)), "texts")
    return text
