"""Pages of which a benchmark writes the part between two markers."""

from pathlib import Path


def write_between(path: Path, begin: str, end: str, text: str) -> None:
    """Writes the text between the markers of a page."""
    before, begin_found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, end_found, after = rest.partition(end)
    assert begin_found and end_found, f"the page has lost its marker {begin.strip()} or {end.strip()}"
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
