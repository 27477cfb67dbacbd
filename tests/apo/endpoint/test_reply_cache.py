"""apo/endpoint/reply_cache.py: a reply belongs to exactly one request; a damaged file is no reply."""

import doctest
import json
from pathlib import Path

import pytest

from apo.endpoint import reply_cache
from apo.endpoint.reply_cache import Reply, ReplyCache, repository_cache
from apo.judge.prompts import JUDGE, chat_request
from tests.helpers.fake_judge import settings

REQUEST = chat_request(settings(), "Which?")
REPLY = Reply("x", "stop", None)


def test_the_docstring_examples() -> None:
    assert doctest.testmod(reply_cache) == (0, 1)


def test_get_returns_what_put_stored(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    assert cache.get(REQUEST) is None
    cache.put(REQUEST, REPLY)
    assert cache.get(REQUEST) == REPLY
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


@pytest.mark.parametrize("changes", [{"model": "n"}, {"temperature": 0.5}, {"max_tokens": 8}], ids=str)
def test_get_finds_no_reply_to_other_settings(changes: dict[str, object], tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    cache.put(REQUEST, REPLY)
    assert cache.get(chat_request(settings(**changes), "Which?")) is None
    assert cache.get(chat_request(settings(), "Who?")) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"reply": {}}', b"\xff", "request", "text"])
def test_get_ignores_a_damaged_file_and_put_replaces_it(damage: bytes | str, tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    cache.put(REQUEST, REPLY)
    (path,) = tmp_path.rglob("*.json")
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        content = json.loads(path.read_text())
        content |= {"request": {}} if damage == "request" else {"reply": content["reply"] | {"text": None}}
        path.write_text(json.dumps(content))
    assert cache.get(REQUEST) is None
    cache.put(REQUEST, REPLY)
    assert cache.get(REQUEST) == REPLY


def test_repository_cache_is_shared_by_experiments_in_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    repository_cache(JUDGE).put(REQUEST, REPLY)
    assert ReplyCache(tmp_path / ".cache" / "judge").get(REQUEST) == REPLY
