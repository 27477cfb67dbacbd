"""apo/inspection/tokens.py: the token issues that training would find."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.inspection.report import Report
from apo.inspection.view import shown
from apo.model.checkpoint import load_tokenizer
from tests.helpers import chat_models
from tests.helpers import tiny_models as tiny
from tests.helpers.checkpoints import edit_config
from tests.helpers.inspected import PARAMS, ROWS, Q, as_document, codes, report_of


def test_tokens_in_counts_token_issues_with_their_actions(pairs: Path, tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "backbone")
    report = report_of(pairs, tokenizer=folder)
    found = {"empty_response": ("drop", 1), "chat_template": ("keep", 1), "special_token_text": ("keep", 1)}
    assert codes(report) == found
    tokens = report.tokens
    assert (tokens["rows"], tokens["rows_left"], tokens["longer"], tokens["max_length"]) == (3, 3, 0, 192)
    assert sum(row["sequences"] for row in tokens["histogram"]) == 8
    assert report.usable


def test_tokens_in_counts_an_error_to_the_end_of_the_file(pairs: Path, tmp_path: Path) -> None:
    """A stage would end at the first; the report goes on and says that the file is not usable."""
    folder = tiny.backbone(tmp_path / "backbone")
    params = tmp_path / "params.yaml"
    text = PARAMS.read_text(encoding="utf-8").replace("special_token_text: keep", "special_token_text: error")
    params.write_text(text, encoding="utf-8")
    write_rows(pairs, [*ROWS, ROWS[3] | {"query": Q + " </s>" + Q}])
    report = report_of(pairs, tokenizer=folder, params=params)
    assert codes(report)["special_token_text"] == ("error", 3)
    assert not report.usable
    assert report.tokens["rows_left"] == 3


def test_tokens_in_needs_a_tokenizer_alone(pairs: Path, tmp_path: Path) -> None:
    tiny.tokenizer().save_pretrained(tmp_path / "tokenizer")
    assert report_of(pairs, tokenizer=tmp_path / "tokenizer").tokens["rows"] == 3


def inspected(
    pairs: Path,
    tmp_path: Path,
    refused: str,
    system: list[str],
    *,
    choice: str = "own",
    edit: Callable[[Path], None] = lambda folder: None,
) -> Report:
    """A report with a template that has no system text, on one row for each system text, "" for none.

    Args:
        choice: The value of backbone.chat_template.
        edit: Edits the checkpoint.
    """
    folder = chat_models.checkpoint("gemma", tmp_path / refused)
    edit(folder)
    params, text = tmp_path / "params.yaml", PARAMS.read_text(encoding="utf-8")
    text = text.replace("chat_template: own", f"chat_template: {choice}")
    params.write_text(text.replace("refused_dialogues: error", f"refused_dialogues: {refused}"))
    answers = {"responses": ["one two", "one"], "scores": [1.0, 0.0]}
    write_rows(pairs, [{"query": f"\n\nSystem: {one}{Q}" if one else Q, **answers} for one in system])
    return report_of(pairs, tokenizer=folder, params=params)


def test_tokens_follow_the_action_for_refused_dialogues(pairs: Path, tmp_path: Path) -> None:
    for refused, left, usable in (("error", 1, False), ("drop", 1, True), ("merge", 2, True)):
        report = inspected(pairs, tmp_path, refused, ["Be kind.", ""])
        assert (report.tokens["rows_left"], report.usable) == (left, usable)
        merged = refused == "merge"
        assert report.tokens["merged_for_chat_template"] == merged
        found = codes(report).get("refused_by_chat_template")
        assert found == (None if merged else (refused, 1))


def test_tokens_of_a_file_that_a_template_refuses_as_a_whole(pairs: Path, tmp_path: Path) -> None:
    report = inspected(pairs, tmp_path, "drop", ["Be kind.", "Be brief."])
    assert report.tokens["refused_by_chat_template"] == 2 and "query" not in report.tokens
    assert "refuses 2 dialogues" in shown(as_document(report), is_terminal=False)


def name_two_templates(folder: Path) -> None:
    reader = load_tokenizer(folder)
    reader.chat_template = {"default": reader.chat_template, "tools": "{{ 'tools' }}"}
    reader.save_pretrained(folder)


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({}, 1),
        ({"choice": "hh"}, 0),
        ({"choice": "hh", "edit": edit_config(architectures=["LlamaForSequenceClassification"])}, 1),
        ({"edit": name_two_templates}, 1),
    ],
    ids=["its own", "chosen in params.yaml", "its own, of a reward model", "the default of two"],
)
def test_tokens_are_those_of_the_template_that_stages_use(
    options: Any, refused: int, pairs: Path, tmp_path: Path
) -> None:
    """The HH form has system text, and that of the checkpoint has none."""
    report = inspected(pairs, tmp_path, "drop", ["Be kind.", ""], **options)
    assert report.tokens["refused_by_chat_template"] == refused


def test_tokens_need_the_template_that_params_yaml_names(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"backbone\.chat_template: found 'my\.jinja'"):
        inspected(pairs, tmp_path, "drop", ["Be kind."], choice="my.jinja")
