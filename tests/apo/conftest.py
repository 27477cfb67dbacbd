"""A hub on localhost."""

from collections.abc import Iterator

import pytest

from tests.helpers.fake_hub import Hub, serving
from tests.helpers.fetched import DATA, MODEL, PICKLES


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with serving({"models/owner/small": {**MODEL, **PICKLES}, "datasets/owner/pairs": DATA}) as hub:
        yield hub


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The server, with nothing asked for yet and nothing wrong; small chunks, no waits between tries."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    files = {repository: dict(content) for repository, content in server.files.items()}
    yield server
    server.files, server.commit, server.status, server.ranges = files, None, 0, True
    server.wrong, server.cut, server.requests = set(), {}, []
