"""The page of `dvc plots show` and `dvc plots diff` with the scripts of Vega inline: it needs no network.

`python -m apo.plots.html_template FILE` writes it. `.dvc/config` names the file, and `make setup` writes it.
The scripts, 0.9 MB of third-party code, come from the installed package vl-convert-python and are not in git.
"""

import sys
from pathlib import Path

from apo.core.records import write_text

VEGA_LITE = "6.4"  # the newest in the package; it draws the specifications of version 5 that DVC makes
PAGE = Path(__file__).with_name("html_template.html")


def page() -> str:
    """The template that DVC fills, with its placeholders `{plot_divs}` and `{refresh_tag}`."""
    import vl_convert

    scripts = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    if "</script" in scripts or any(
        placeholder in scripts for placeholder in ("{plot_divs}", "{refresh_tag}", "{scripts}")
    ):
        raise AssertionError("the scripts of this vl-convert can't stand in a page")
    return PAGE.read_text(encoding="utf-8").replace("VEGA", scripts, 1)


def main(out: Path) -> None:
    """Writes the page atomically."""
    write_text(out, page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
