"""apo/endpoint/request_all.py: many requests: each once, some at a time, what was answered is kept."""

import threading
import time
from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.endpoint import request_all as sending
from apo.endpoint.client import RefusedError
from apo.endpoint.reply_cache import ReplyCache, Request, request_key
from apo.endpoint.request_all import request_all
from apo.judge.prompts import JUDGE, chat_request
from tests.helpers.fake_endpoint import Response, completion, error, in_turn, serving, use_fast_retries
from tests.helpers.fake_judge import settings

KEY = "sk-very/secret"
REQUEST = chat_request(settings(), "Which?")
GOOD = completion("Verdict: A")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fast_retries(monkeypatch)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("APO_JUDGE_URL", "", "no address"),
        ("APO_JUDGE_URL", "ftp://h", "an address that is not http or https"),
        ("APO_JUDGE_URL", "localhost:8000/v1", "an address that is not http or https"),
        ("APO_JUDGE_URL", "http://[::1/v1", "an address that is not http or https"),
        ("APO_JUDGE_URL", "https://me:word@h/v1", "an address that .* has a user name"),
        ("APO_JUDGE_KEY", f"{KEY}\n", "white space"),
        ("APO_JUDGE_KEY", f"{KEY}\u00fc", "white space or a character that is not ASCII"),
        ("APO_JUDGE_TIMEOUT", "0", "'0'"),
        ("APO_JUDGE_TIMEOUT", "\u00b2", "'\u00b2'"),
        ("APO_JUDGE_PARALLEL", "-1", "'-1'"),
    ],
)
def test_request_all_refuses_an_invalid_environment(
    name: str, value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APO_JUDGE_URL", "http://h/v1")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"^{name}: found {message}") as caught:
        request_all([REQUEST], ReplyCache(tmp_path), JUDGE)
    assert KEY not in str(caught.value) and "word" not in str(caught.value)


def chat_requests(number: int) -> list[Request]:
    return [chat_request(settings(), f"prompt {index}") for index in range(number)]


def test_request_all_sends_each_request_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ReplyCache(tmp_path)
    with serving(lambda request, _: completion("to " + request["messages"][0]["content"])) as server:
        monkeypatch.setenv("APO_JUDGE_URL", server.url)
        replies = request_all(chat_requests(9) + chat_requests(4), cache, JUDGE)
        assert sorted(server.prompts) == [f"prompt {index}" for index in range(9)]
        assert {key: reply.text for key, reply in replies.items()} == {
            request_key(request): f"to prompt {index}" for index, request in enumerate(chat_requests(9))
        }
        assert request_all(chat_requests(10), cache, JUDGE).items() >= replies.items()
        assert len(server.requests) == 10
    monkeypatch.delenv("APO_JUDGE_URL")
    assert len(request_all(chat_requests(10), cache, JUDGE)) == 10  # needs no endpoint


@pytest.mark.parametrize("parallel", [1, 3])
def test_request_all_caches_what_is_in_progress_when_a_request_fails(
    parallel: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_repaired: list[bool] = []

    def respond(request: Request, number: int) -> Response:
        if request["messages"][0]["content"] == "prompt 4" and not is_repaired:
            return error(400, "too long")
        time.sleep(0.05)
        return completion("x")

    cache = ReplyCache(tmp_path)
    with serving(respond) as server:
        monkeypatch.setenv("APO_JUDGE_URL", server.url)
        monkeypatch.setenv("APO_JUDGE_PARALLEL", str(parallel))
        with pytest.raises(UserError, match="too long"):
            request_all(chat_requests(12), cache, JUDGE)
        cached = sum(cache.get(request) is not None for request in chat_requests(12))
        assert cached == len(server.requests) - 1
        assert 4 <= cached <= 4 + parallel
        is_repaired.append(True)
        assert len(request_all(chat_requests(12), cache, JUDGE)) == 12
        assert len(server.requests) == 13


def test_request_all_goes_on_after_a_refusal_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def respond(request: Request, _: int) -> Response:
        is_refused = request["messages"][0]["content"] in ("prompt 0", "prompt 7")
        return error(400, "a filter") if is_refused else GOOD

    cache = ReplyCache(tmp_path)
    with serving(respond) as server:
        monkeypatch.setenv("APO_JUDGE_URL", server.url)
        for sent in (12, 14):  # the refused ones again
            refused: dict[str, RefusedError] = {}
            replies = request_all(chat_requests(12), cache, JUDGE, refused=refused)
            assert set(refused) == {request_key(chat_requests(12)[index]) for index in (0, 7)}
            assert len(replies) == 10 and len(server.requests) == sent


def test_request_all_ends_where_everything_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APO_JUDGE_PARALLEL", "1")
    for number, sent in ((40, 10), (3, 3)):
        with serving(in_turn(error(400, "no such parameter"))) as server:
            monkeypatch.setenv("APO_JUDGE_URL", server.url)
            with pytest.raises(UserError, match="no such parameter"):
                request_all(chat_requests(number), ReplyCache(tmp_path), JUDGE, refused={})
            assert len(server.requests) == sent


def test_request_all_takes_no_unsent_request_for_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many quick refusals while the first good reply is on its way."""
    monkeypatch.setenv("APO_JUDGE_PARALLEL", "8")

    def respond(request: Request, _: int) -> Response:
        if int(request["messages"][0]["content"].split()[-1]) % 3:
            return error(400, "a filter")
        time.sleep(0.5)
        return GOOD

    with serving(respond) as server:
        monkeypatch.setenv("APO_JUDGE_URL", server.url)
        with pytest.raises(UserError, match="a filter"):
            request_all(chat_requests(60), ReplyCache(tmp_path), JUDGE, refused={})
        assert len(server.requests) < 60
        refused: dict[str, RefusedError] = {}
        replies = request_all(chat_requests(60), ReplyCache(tmp_path), JUDGE, refused=refused)
    assert (len(replies), len(refused)) == (20, 40)


def test_request_all_does_not_wait_for_retries_when_a_request_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "GRACE_SECONDS", 0.2)

    def respond(request: Request, _: int) -> Response:
        if request["messages"][0]["content"] == "prompt 0":
            return error(503, Retry_After="60")
        time.sleep(0.2)
        return error(400, "too long")

    with serving(respond) as server:
        monkeypatch.setenv("APO_JUDGE_URL", server.url)
        start = time.monotonic()
        with pytest.raises(UserError, match="too long"):
            request_all(chat_requests(2), ReplyCache(tmp_path), JUDGE)
        assert time.monotonic() - start < 5.0


def test_request_all_limits_the_concurrent_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    concurrent: list[int] = []
    highest: list[int] = []
    lock = threading.Lock()

    def respond(_: Request, number: int) -> Response:
        with lock:
            concurrent.append(number)
            highest.append(len(concurrent))
        time.sleep(0.05)
        with lock:
            concurrent.remove(number)
        return GOOD

    with serving(respond) as server:
        monkeypatch.setenv("APO_JUDGE_URL", server.url)
        monkeypatch.setenv("APO_JUDGE_PARALLEL", "3")
        request_all(chat_requests(12), ReplyCache(tmp_path), JUDGE)
    assert max(highest) == 3


def test_request_all_names_a_cache_that_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with serving(in_turn(GOOD)) as server:
        monkeypatch.setenv("APO_JUDGE_URL", server.url)
        with pytest.raises(UserError, match="expected room for a reply of the endpoint"):
            request_all([REQUEST], ReplyCache(tmp_path / "file"), JUDGE)
