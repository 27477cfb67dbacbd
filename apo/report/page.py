"""The page: tables and plots as plain HTML, the transcripts as JSON that a script of the page shows.

Its template is page.html, its style page.css, its script page.js. The same run gives the same bytes.
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
from apo.report.cells import number
from apo.report.figures import Figure
from apo.report.missing import missing_stages, stages_of
from apo.report.run import Run
from apo.report.summary import verdict
from apo.report.tables import Table, all_metrics, parameters, tables
from apo.report.transcripts import MEASURES, count_choices

HERE = Path(__file__).parent
DIGITS = 4  # of rewards in the page; the files have all


def build_page(
    run: Run,
    plots: Sequence[Figure],
    displayed: Sequence[Row],
    settings: Mapping[str, Any],
    earlier: Sequence[str] = (),
) -> str:
    """The report as one HTML document.

    Args:
        displayed: The transcripts that the page shows.
        settings: All sections of params.yaml.
        earlier: The stages whose results are of other parameters or inputs.
    """
    rounds = [entry["id"] for entry in settings["rounds"]]
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    metric_tables = tables(run.metrics, rounds)
    parts = {
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "script": script,
        "script_hash": f"sha256-{digest}",
        "verdict": _verdicts(run.metrics, rounds),
        "navigation": _navigation(metric_tables),
        "missing": _missing(run, rounds, earlier),
        "tables": "\n".join(_section(table) for table in metric_tables),
        "figures": _figures(plots),
        "transcripts": _about_transcripts(run.transcripts, displayed),
        "data": as_json({"measures": MEASURES, "rows": [_rounded(row) for row in displayed]}),
        "parameters": _parameters(run.metrics, settings, rounds),
        "all_metrics": "\n".join(_details(table) for table in all_metrics(run.metrics)),
    }
    template = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def as_json(content: Any) -> str:
    """JSON for a script element: without `<`, `>`, `&` and the line separators of JavaScript.

    >>> as_json(["</script><!--"])
    '["\\\\u003c/script\\\\u003e\\\\u003c!--"]'
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _rounded(row: Row) -> Row:
    """The row with rounded rewards and measures."""
    rewards = {
        model: [None if reward is None else round(reward, DIGITS) for reward in values]
        for model, values in row["rewards"].items()
    }
    measures = {key: round(value, DIGITS) for key, value in row["measures"].items()}
    return row | {"rewards": rewards, "measures": measures}


def _verdicts(metrics: Mapping[str, Any], rounds: Sequence[str]) -> str:
    """The results of the rounds, the last round first."""
    paragraphs: list[str] = []
    for round in reversed(rounds):
        evaluation = metrics.get(f"evaluate_{round}", {})
        if f"llm_apo_{round}_vs_llm_base_{round}" in evaluation:
            name, first, *rest = verdict(evaluation, round).splitlines()
            kind = "note" if paragraphs else "verdict"
            paragraphs.append(f'<p class="{kind}">{escape(f"{name} {first.strip()}")}</p>')
            paragraphs += [f'<p class="note">{escape(line.strip())}</p>' for line in rest]
    nobody = '<p class="verdict">Nobody has won: no round of this run was evaluated.</p>'
    return "\n".join(paragraphs) or nobody


def _navigation(metric_tables: Sequence[Table]) -> str:
    links = [(_slug(table), table.title) for table in metric_tables]
    links += [
        ("plots", "Plots"),
        ("transcripts", "Transcripts"),
        ("parameters", "Parameters"),
        ("metrics", "All metrics"),
    ]
    return "".join(f'<a href="#{slug}">{escape(title)}</a>' for slug, title in links)


def _missing(run: Run, rounds: Sequence[str], earlier: Sequence[str]) -> str:
    of_earlier = [
        f"stage {escape(stage)}: what is shown is of other parameters or inputs" for stage in earlier
    ]
    stages = [f"stage {escape(stage)}: no metrics" for stage in missing_stages(run.metrics, rounds)]
    files = [f"file <code>{escape(path)}</code>" for path in run.missing]
    if not (stages or files or of_earlier):
        return ""
    items = "".join(f"<li>{item}</li>" for item in stages + files + of_earlier)
    return (
        '<section class="warning" id="missing"><h2>This run is not whole</h2>'
        f"<p>The rest is shown. Not there, or not of the parameters below:</p><ul>{items}</ul>"
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


def _details(table: Table, kind: str = "") -> str:
    title = f'{escape(table.title)}<span class="note">{len(table.rows)}</span>'
    content = _table(table.head, table.rows, table.title, kind)
    return f"<details><summary>{title}</summary>{content}</details>"


def _figures(plots: Sequence[Figure]) -> str:
    if not plots:
        return '<p class="note">This run has no curves.</p>'
    return f'<div class="figures">{"".join(map(_figure, plots))}</div>'


def _figure(figure: Figure) -> str:
    caption = escape(figure.caption)
    svg = figure.svg.replace("<svg ", f'<svg role="img" aria-label="{caption}" ', 1)
    scrollable = f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">{svg}</div>'
    return f"<figure><figcaption>{caption}</figcaption>{scrollable}</figure>"


def _about_transcripts(rows: Sequence[Row], displayed: Sequence[Row]) -> str:
    """The number of transcripts by round and split, and how often the two RMs agree."""
    if not rows:
        return '<p class="note">This run has none.</p>'
    words = {
        "llm": "LLM queries, which the RMs rate",
        "test": "test queries",
        "rm": "RM queries, which the APO RM learns from",
    }
    cells = []
    for round, split in dict.fromkeys((row["round"], row["split"]) for row in rows):
        group = [row for row in rows if (row["round"], row["split"]) == (round, split)]
        equal, different = count_choices(group)
        compared = [number(equal), number(different)] if equal + different else ["", ""]
        cells.append([f"{round}, {words[split]}", number(len(group)), *compared])
    head = ["", "transcripts", "both RMs chose the same", "chose differently"]
    left_out, outdated = len(rows) - len(displayed), sum(bool(row["outdated"]) for row in rows)
    omitted = f"{left_out:,} transcripts are left out of the page (<code>report.max_transcripts</code>). "
    of_others = (
        f"In {outdated:,} transcripts the rewards and the choice of an RM are left out: they are of other "
        "samples than those that are there now. "
    )
    disagreement = (
        "Two RMs disagree by what each loses, in its own rewards, by the choice of the other: 0 where both "
        "choose the same. Where the arms have other samples, each RM rates its own: no comparison."
    )
    note = f'<p class="note">{omitted if left_out else ""}{of_others if outdated else ""}{disagreement}</p>'
    return _table(head, cells, "Transcripts by split") + note


def _parameters(metrics: Mapping[str, Any], settings: Mapping[str, Any], rounds: Sequence[str]) -> str:
    finished = [stage for key, stage in stages_of(rounds).items() if key in metrics]
    shared = [stage for stage in finished if " of round " not in stage]
    rows = [["all rounds", ", ".join(shared) or "none"]]
    for round in rounds:
        stages = [stage.split(" of ")[0] for stage in finished if stage.endswith(f" of round {round}")]
        rows.append([f"round {round}", ", ".join(stages) or "none"])
    html = _table(["", "stages that left metrics"], rows, "Stages", "texts")
    if "judge" in metrics and not metrics["judge"].get("questions"):
        html += '<p class="note">No judge from outside was named (<code>judge.model</code>).</p>'
    single = [
        parameters(name, values)[0] for name, values in settings.items() if not isinstance(values, dict)
    ]
    html += _table(["parameter", "value"], single, "Parameters", "texts")
    for section, values in settings.items():
        if isinstance(values, dict):
            html += _details(Table(section, "", ["parameter", "value"], parameters(section, values)), "texts")
    return html
