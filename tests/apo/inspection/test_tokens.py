"""apo/inspection/tokens.py: the token issues that training would find."""

from pathlib import Path

from apo.core.records import write_rows
from tests.helpers import tiny_models as tiny
from tests.helpers.inspected import PARAMS, ROWS, Q, codes, report_of


def test_tokens_in_counts_token_issues_with_their_actions(pairs: Path, tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "backbone")
    report = report_of(pairs, tokenizer=folder)
    assert codes(report) == {"empty_response": ("drop", 1), "special_token_text": ("keep", 1)}
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
