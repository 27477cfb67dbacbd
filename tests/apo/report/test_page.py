"""The report in a real browser: open, filter, search, read; keyboard, phone, dark, without JavaScript."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from apo.report.run import read_run
from tests.helpers.browser import Seen, opened
from tests.helpers.report_run import HOSTILE, page_of, write_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROW = 60  # the height of a row, pixels


def write_report(folder: Path, *, queries: int) -> Path:
    """The report on a run of so many LLM and test queries, and half as many RM queries."""
    write_run(folder, queries=queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = read_run(["r1"])
    file = folder / "report.html"
    file.write_text(page_of(run), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 transcripts."""
    return write_report(tmp_path_factory.mktemp("report"), queries=6)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 transcripts."""
    return write_report(tmp_path_factory.mktemp("large"), queries=4000)


@pytest.fixture
def shown(report: Path) -> Iterator[tuple[Page, Seen]]:
    """The page; after the test it has complained about nothing and asked for nothing else."""
    with opened(report) as (page, seen):
        yield page, seen
        assert seen.errors == []
        assert seen.requests == [report.resolve().as_uri()]


def count(page: Page) -> str:
    return page.locator("#count").inner_text()


def first_row(page: Page) -> str:
    return page.locator("#row-0").inner_text()


def narrow(page: Page) -> bool:
    """Whether the page can't be moved sideways."""
    fits: bool = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return fits


def test_page_opens_without_an_error(shown: tuple[Page, Seen]) -> None:
    page, _ = shown
    assert "llm_apo minus llm_base by the testing RM" in page.locator(".verdict").inner_text()
    assert count(page) == "15 of 15 transcripts"
    assert page.locator("figure svg").count() == 9
    assert page.get_by_role("listbox").count() == 1 and page.locator("#list [role=option]").count() == 15


def test_page_filters_rows(shown: tuple[Page, Seen]) -> None:
    page, _ = shown
    for chosen, expected in (
        ({"#split": "llm"}, 6),
        ({"#split": "llm", "#kind": "harmless"}, 3),
        ({"#split": "rm", "#kind": ""}, 3),
        ({"#split": "", "#kind": "", "#round": "r1"}, 15),
        ({"#choice": "other"}, 2),
        ({"#choice": "same"}, 4),
        ({"#choice": "same", "#kind": "harmless"}, 2),
    ):
        for select, value in chosen.items():
            page.select_option(select, value)
        assert count(page) == f"{expected} of 15 transcripts", chosen


def test_page_searches_texts(shown: tuple[Page, Seen]) -> None:
    """All words have to be there, in the query, an answer, the golden answer or the id, in any case."""
    page, _ = shown
    for words, expected in (
        ("FIRST of LLM-3", 1),
        ("golden test-", 6),
        ("golden rm-1", 1),
        ("question says", 6),
        ("no such word", 0),
        ("window.hurt onerror", 1),
        ("", 15),
    ):
        page.fill("#search", words)
        assert count(page) == f"{expected} of 15 transcripts", words


def test_page_orders_rows(shown: tuple[Page, Seen]) -> None:
    """In rows 0 and 3 the APO RM chose the second sample, which it gave 1.5 and 4.5 and the base RM -1."""
    page, _ = shown
    page.select_option("#order", "disagreement down")
    assert "disagreement 5.500" in first_row(page)  # 1 - -1 and 4.5 - 1
    assert "base RM chose sample 1" in first_row(page) and "APO RM chose sample 2" in first_row(page)
    assert "disagreement 2.500" in page.locator("#row-1").inner_text()
    page.select_option("#order", "score_gain down")
    assert "The one of 5" in first_row(page) and "6.000" in first_row(page)  # 2 + 5 - 1
    page.select_option("#order", "score_gain up")
    assert "The one of 0" in first_row(page) and "1.000" in first_row(page)
    assert page.locator("#order option").count() == 1 + 1 + 2 * 4  # of true rewards there are none
    page.select_option("#order", "")
    assert "llm" in first_row(page)


def test_page_opens_a_row(shown: tuple[Page, Seen]) -> None:
    page, _ = shown
    page.locator("#row-3").click()
    dialog = page.get_by_role("dialog")
    text = dialog.inner_text()
    for expected in (
        "4 of 15",
        "llm-3",
        "Question 3?",
        "Which one?",
        "Golden llm-3.",
        "base RM 1.000, chosen",
    ):
        assert expected in text
    assert "APO RM 4.500, chosen" in text and "(blank)" in text
    answers = page.locator(".answer").all_inner_texts()
    assert [one.split("\n")[0] for one in answers] == ["golden answer", "sample 1", "sample 2", "sample 3"]
    page.click("#close")
    assert not dialog.is_visible()


def test_page_says_that_rewards_of_other_samples_are_left_out(tmp_path: Path) -> None:
    write_run(tmp_path)
    row = {"query_id": "llm-0", "target_index": 0, "samples": ["Of an earlier run"]}
    (tmp_path / "data/rjs/r1/apo.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "report.html").write_text(page_of(read_run(["r1"], tmp_path)), encoding="utf-8")
    with opened(tmp_path / "report.html") as (page, seen):
        page.locator("#row-0").click()
        text = page.get_by_role("dialog").inner_text()
        assert "No rewards and no choice of the APO RM" in text
        assert "base RM 1.000, chosen" in text and "APO RM 1.500" not in text
        assert seen.errors == []


def test_page_works_with_the_keyboard_alone(shown: tuple[Page, Seen]) -> None:
    page, _ = shown
    press, selected = page.keyboard.press, page.locator("[aria-selected=true]")
    press("/")
    page.keyboard.type("llm-")
    assert count(page) == "6 of 15 transcripts"
    press("Enter")  # to the list
    for key, number in (
        ("j", 1),
        ("ArrowDown", 2),
        ("k", 1),
        ("End", 5),
        ("ArrowDown", 5),
        ("Home", 0),
        ("ArrowUp", 0),
    ):
        press(key)
        assert selected.get_attribute("id") == f"row-{number}", key
        assert page.locator("#list").get_attribute("aria-activedescendant") == f"row-{number}"
    press("j")
    press("Enter")
    assert "llm-1" in page.locator("#open-title").inner_text()
    press("j")
    assert "llm-2" in page.locator("#open-title").inner_text()
    press("k")
    press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    assert page.evaluate("document.activeElement.id") == "list"
    assert selected.get_attribute("id") == "row-1"
    press("/")
    page.keyboard.type("jk")  # letters, while somebody writes
    assert page.input_value("#search") == "llm-jk" and count(page) == "0 of 15 transcripts"
    press("Enter")
    press("Enter")
    assert not page.get_by_role("dialog").is_visible()


def test_page_shows_a_response_as_text(shown: tuple[Page, Seen]) -> None:
    """Markup, U+FFFD, control and bidi characters and a word of 800 letters."""
    page, _ = shown
    page.fill("#search", "window.hurt")
    page.locator("#row-0").click()
    text = page.locator(".answer .text").nth(2).evaluate("one => one.textContent")
    expected = HOSTILE.replace("\x01", "\u2401").replace("\x1b", "\u241b").replace("\x9f", "\u2421")
    assert text == expected.strip()
    assert page.evaluate("typeof window.hurt") == "undefined"
    assert page.locator("img").count() == 0 and page.locator("script").count() == 2
    assert page.evaluate("(one => one.scrollWidth <= one.clientWidth)(document.getElementById('transcript'))")


def test_page_policy_blocks_an_inserted_script(report: Path, tmp_path: Path) -> None:
    """The page names the one script that may run by its hash."""
    broken = tmp_path / "broken.html"
    broken.write_text(
        report.read_text(encoding="utf-8").replace("<main>", "<main><script>window.hurt = 1</script>")
    )
    with opened(broken) as (page, seen):
        assert page.evaluate("typeof window.hurt") == "undefined"
        assert any("Content Security Policy" in error for error in seen.errors)


def test_page_shows_ten_thousand_rows(large: Path) -> None:
    """It opens in about a second, and draws what is in sight alone, wherever one scrolls."""
    with opened(large) as (page, seen):
        assert count(page) == "10,000 of 10,000 transcripts"
        milliseconds = page.evaluate("performance.getEntriesByType('navigation')[0].domComplete")
        assert milliseconds < 5000  # 0.5 s on an idle machine
        page.locator("#list").evaluate("one => { one.scrollTop = 5000 * 60 }")
        page.wait_for_selector("#row-5000")
        assert page.locator(".row").count() < 60
        page.locator("#list").press("End")
        assert page.locator("#row-9999").is_visible() and page.locator(".row").count() < 60
        frames = page.evaluate(
            """() => new Promise(done => {
                const list = document.getElementById("list"), took = [];
                let last = performance.now();
                const step = () => {
                    took.push(performance.now() - last);
                    last = performance.now();
                    list.scrollTop -= 700;
                    took.length < 60 ? requestAnimationFrame(step) : done(took.sort((a, b) => a - b));
                };
                requestAnimationFrame(step);
            })"""
        )
        assert frames[30] < 100  # milliseconds, the median; 17 on an idle machine
        page.fill("#search", "llm-3999")
        assert count(page) == "1 of 10,000 transcripts"
        assert seen.errors == [] and seen.leaving == []
    assert large.stat().st_size < 10_000_000


def test_page_fits_a_phone(report: Path, tmp_path: Path) -> None:
    with opened(report, width=360, height=740) as (page, seen):
        assert narrow(page)
        for one in page.locator("details").all():
            one.evaluate("one => { one.open = true }")
        assert narrow(page)
        page.fill("#search", "window.hurt")
        page.locator("#row-0").click()
        box = page.locator("dialog").bounding_box()
        assert box and (box["x"], box["width"]) == (0, 360)
        assert narrow(page)
        assert seen.errors == []


def brightness(colour: str) -> float:
    """From 0 to 255, of `rgb(r, g, b)`."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_contrast_in_light_and_dark(report: Path, scheme: str) -> None:
    """Text, also that of the plots, stands out from what is behind it."""
    with opened(report) as (page, seen):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        behind = brightness(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert (behind < 64) == (scheme == "dark")
        for selector, desc in (
            ("body", "color"),
            (".note", "color"),
            ("figure svg text", "fill"),
            ("a", "color"),
        ):
            colour = page.locator(selector).first.evaluate(f"one => getComputedStyle(one).{desc}")
            assert abs(brightness(colour) - behind) > 70, (selector, colour)
        assert seen.errors == []


def test_page_has_its_tables_without_javascript(report: Path) -> None:
    with opened(report) as (page, _):
        assert page.context.browser
        plain = page.context.browser.new_context(java_script_enabled=False).new_page()
        plain.goto(report.resolve().as_uri())
        assert plain.locator("#reward-models tbody tr").count() == 4
        assert plain.locator("#who-wins").get_by_text("0.500 (0.250 to 0.750)").is_visible()
        assert plain.locator("figure svg").first.is_visible()
        assert "needs JavaScript" in plain.locator("noscript p").inner_text()
        assert not plain.locator("#browser").is_visible()
        plain.locator("#metrics details").first.locator("summary").click()  # needs no script
        assert plain.locator("#metrics table").first.is_visible()
