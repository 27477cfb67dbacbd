"""The browser of the tests tells of what it should: errors, exceptions, what a page asks for."""

from pathlib import Path

import pytest

from tests.helpers.browser import look_at, opened

pytestmark = pytest.mark.slow


def test_a_quiet_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><title>quiet</title><p>hello</p><script>console.log('fine')</script>")
    seen = look_at(page, tmp_path / "page.png", width=400)
    assert seen.errors == []
    assert seen.requests == [page.as_uri()]
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_page_does_wrong_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!DOCTYPE html><script src='https://example.org/x.js'></script>"
        "<script>console.error('said'); console.warn('warned'); nothing.there;</script><img src='gone.png'>"
    )
    with opened(page) as (shown, seen):
        assert shown.locator("img").count() == 1
    assert seen.leaving == ["https://example.org/x.js"]
    assert {"said", "warned"} <= set(seen.errors)
    for wrong in ("exception: nothing is not defined", "request failed: https://example.org/x.js"):
        assert wrong in seen.errors
    assert any("gone.png" in error for error in seen.errors)


def test_without_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_BROWSER", str(tmp_path / "no-browser"))
    monkeypatch.delenv("APO_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-browser"):
        look_at(tmp_path / "page.html", tmp_path / "page.png")
    monkeypatch.setenv("APO_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="no-browser"):
        look_at(tmp_path / "page.html", tmp_path / "page.png")
