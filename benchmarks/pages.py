"""Pages of which a benchmark writes the part between two markers."""

from pathlib import Path


def put_between(page: str, begin: str, end: str, text: str) -> str:
    """The page with the text between the markers."""
    before, begin_found, rest = page.partition(begin)
    _, end_found, after = rest.partition(end)
    assert begin_found and end_found, f"the page has lost its marker {begin.strip()} or {end.strip()}"
    return f"{before}{begin}\n{text}\n{end}{after}"


def write_between(path: Path, begin: str, end: str, text: str) -> None:
    """Writes the text between the markers of a page."""
    page = put_between(path.read_text(encoding="utf-8"), begin, end, text)
    path.write_text(page, encoding="utf-8")
