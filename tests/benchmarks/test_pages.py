"""benchmarks/pages.py: the part of a page between two markers, which replaces the one before."""

from pathlib import Path

import pytest

from benchmarks.pages import write_between


def test_write_between_replaces_the_text_before(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# Title\n\n<begin>\nold\n<end>\n\nafter\n")
    for _ in range(2):
        write_between(page, "<begin>\n", "<end>\n", "| new |\n")
        assert page.read_text() == "# Title\n\n<begin>\n\n| new |\n\n<end>\n\nafter\n"


def test_write_between_refuses_a_page_without_a_marker(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<begin>\n")
    with pytest.raises(AssertionError, match="marker <begin> or <end>"):
        write_between(page, "<begin>\n", "<end>\n", "| new |\n")
