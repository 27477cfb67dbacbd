"""Shapes are checked at run time under the tests; reference vectors for every test that asks for them."""

import gc
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from jaxtyping import install_import_hook

# Before anything of apo is imported. The tower is that of PEP 484: an int passes where a float is expected.
install_import_hook("apo", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# What a property costs depends on what else the machine does; a test that hangs has the timeout of pytest.
hypothesis.settings.register_profile("untimed", deadline=None, max_examples=50)
hypothesis.settings.load_profile("untimed")

VECTORS = [Path(__file__).parent / "vectors", Path(__file__).parents[2] / "shared" / "vectors"]


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell ignores it for what it starts with &
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Turns on the garbage collector, which `stages` turned off, as a stage does when it begins."""
    gc.freeze()
    gc.enable()


@pytest.fixture(params=[folder for folder in VECTORS if folder.is_dir()], ids=lambda folder: folder.parts[-2])
def vectors(request: pytest.FixtureRequest) -> Callable[[str], list[dict[str, Any]]]:
    """Reads the cases of one file of results of the authors' functions (Linear95/APO@4282775).

    `tests/vectors` holds what fits into a repository; where a fuller folder lies beside the checkout, the
    tests run on that as well. Infinity and NaN stand as the texts 'inf' and 'nan'.
    """

    def read(name: str) -> list[dict[str, Any]]:
        cases: list[dict[str, Any]] = json.loads((request.param / f"{name}.json").read_text())["cases"]
        return cases

    return read


@pytest.fixture(scope="session")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which a small game of one round was played and committed.

    The experiment `two` is the same game with a second round. Processes of one test run play it once: the
    others copy it.
    """
    from tests.helpers.played_repo import play_once

    return play_once(tmp_path_factory)


@pytest.fixture
def played(game: Path) -> Iterator[Path]:
    """The played game as it was committed; put back after the test."""
    from tests.helpers.played_repo import put_back

    yield game
    put_back(game)
