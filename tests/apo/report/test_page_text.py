"""apo/report/page.py: always the same bytes, nothing from outside, no text of the data as HTML."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apo.report.page import as_json
from apo.report.run import read_run
from tests.helpers.report_run import HOSTILE, page_of


@given(st.lists(st.text(st.characters() | st.sampled_from("<>&\u2028\u2029\\/!-"))))
def test_as_json_is_read_back_and_ends_no_element(content: Any) -> None:
    text = as_json(content)
    assert json.loads(text) == content
    assert not re.search("[<>&\u2028\u2029]", text)


def test_build_page_ignores_the_order_of_files(folder: Path) -> None:
    run = read_run(["r1"])
    for part, name in ((run.curves, "curves"), (run.metrics, "metrics")):
        other = replace(run, **{name: dict(reversed(part.items()))})
        assert page_of(other) == page_of(run), name


def test_build_page_escapes_all_texts_of_the_data(folder: Path) -> None:
    run = read_run(["r1"])
    run.metrics["data"]["<script>bad</script>"] = "<img src=x>"
    page = page_of(run)
    assert page.count("<script") == 2 == page.count("</script>")  # the data and the page's own
    assert "window.hurt" in page and "<script>window" not in page and "<img" not in page
    assert "&lt;script&gt;bad&lt;/script&gt;" in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert data
    texts = [a["text"] for row in json.loads(data[1])["rows"] for a in row["answers"]]
    assert HOSTILE in texts  # {{style}} too: nothing is filled in twice


def test_build_page_is_deterministic_and_requests_nothing(folder: Path) -> None:
    page = page_of(read_run(["r1"]))
    assert page == page_of(read_run(["r1"]))
    assert str(folder) not in page
    without_names = page.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert not re.search(r"https?://|src=[\"']|@import|url\(", without_names.replace("src=x", ""))
    assert "default-src 'none'" in page
