"""apo/endpoint/client.py: one request to an endpoint that fails in every way, and a key that is safe."""

import asyncio
import os
import re
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.endpoint.client import MAX_RETRIES, Endpoint, endpoint_from_environment
from apo.endpoint.reply_cache import Reply, ReplyCache, Request
from apo.endpoint.request_all import request_all
from apo.judge.prompts import JUDGE, chat_request
from tests.helpers.fake_endpoint import (
    Response,
    completion,
    error,
    in_turn,
    serving,
    use_fast_retries,
)
from tests.helpers.fake_judge import settings

KEY = "sk-very/secret"
REQUEST = chat_request(settings(), "Which?")
GOOD = completion("Verdict: A")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fast_retries(monkeypatch)


def complete(url: str, *, timeout: float = 5.0, key: str = KEY, **query: str) -> Reply:
    """The reply to one request, without the cache."""

    async def send() -> Reply:
        endpoint = Endpoint(url, key, timeout, JUDGE, query)
        async with endpoint.client() as openai_client:
            return await endpoint.complete(openai_client, REQUEST)

    return asyncio.run(send())


def test_complete_sends_model_prompt_settings_and_key() -> None:
    with serving(in_turn(GOOD)) as server:
        assert complete(server.url) == Reply("Verdict: A", "stop", "m-2026")
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers["Authorization"] == f"Bearer {KEY}"
    messages = [{"role": "user", "content": "Which?"}]
    assert server.requests == [{"model": "m", "messages": messages, "temperature": 0.0, "max_tokens": 512}]


TRANSIENT = {
    "error 500": error(500),
    "overloaded": error(503, "overloaded"),
    "rate limit": error(429),
    "garbage": (200, {}, b"<html>"),
    "not UTF-8": (200, {}, b'{"choices": "\xff\xfe"}'),
    "half a JSON": (200, {}, GOOD[2][:-5]),
    "no object": (200, {}, b"[1, 2]"),
    "no choices": completion("x", choices=[]),
    "choices of another type": completion("x", choices={"0": 1}),
    "no message": completion("x", choices=[{"index": 0}]),
    "parts instead of text": completion("x", choices=[{"message": {"content": [{"text": "A"}]}}]),
    "an error with status 200": (200, {}, b'{"error": {"message": "overloaded"}}'),
    "half a surrogate pair": completion("\ud800"),
    "cut off": (200, {"Content-Length": "10000"}, GOOD[2]),
    "no gzip": (200, {"Content-Encoding": "gzip"}, GOOD[2]),
}


@pytest.mark.parametrize("name", TRANSIENT)
def test_complete_retries_a_transient_failure(name: str) -> None:
    with serving(lambda _, number: TRANSIENT[name] if number < 2 else GOOD) as server:
        assert complete(server.url, timeout=0.5 if name == "cut off" else 5.0).text == "Verdict: A"
        assert len(server.requests) == 3


@pytest.mark.parametrize("name", sorted(TRANSIENT.keys() - {"cut off"}))
def test_complete_ends_in_one_line_after_all_retries(name: str) -> None:
    with serving(in_turn(TRANSIENT[name])) as server, pytest.raises(UserError) as caught:
        complete(server.url)
    assert len(server.requests) == MAX_RETRIES + 1 == 13
    message = str(caught.value)
    assert message.startswith(f"{server.url}/chat/completions: found ") and "after 12 retries" in message
    assert "finished replies are cached" in message and "\n" not in message


@pytest.mark.parametrize("header", ["0.5", "Thu, 01 Jan 2026 00:00:00 GMT", "soon"])
def test_complete_obeys_a_valid_retry_after(header: str) -> None:
    with serving(in_turn(error(429, Retry_After=header), GOOD)) as server:
        start = time.monotonic()
        complete(server.url)
        assert (time.monotonic() - start >= 0.5) == (header == "0.5")


def test_complete_does_not_wait_for_hours() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for header in ("3600", later):
        message = (
            rf"status 429 'quota' to .*, with Retry-After '{header}' after 0 retries; .*lower APO_JUDGE_PAR"
        )
        with (
            serving(in_turn(error(429, "quota", Retry_After=header))) as server,
            pytest.raises(UserError, match=message),
        ):
            complete(server.url)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "judge.max_tokens"),
        (401, "APO_JUDGE_KEY"),
        (403, "APO_JUDGE_KEY"),
        (404, "usually ends in /v1"),
        (422, "judge.temperature"),
        (308, "redirects are not followed"),
    ],
)
def test_complete_does_not_retry_a_refusal(status: int, remedy: str) -> None:
    with (
        serving(in_turn(error(status, "no\n such \x1b[31m model", Location="/v2"))) as server,
        pytest.raises(UserError, match=rf"status {status} 'no such \?\[31m model' .*{remedy}"),
    ):
        complete(server.url)
    assert len(server.requests) == 1


def test_complete_retries_after_a_timeout() -> None:
    def respond(_: Request, number: int) -> Response:
        time.sleep(0.6 if number < 1 else 0.0)
        return GOOD

    with serving(respond) as server:
        assert complete(server.url, timeout=0.2).text == "Verdict: A"
        assert len(server.requests) == 2


def test_complete_names_a_timeout() -> None:
    def respond(_: Request, number: int) -> Response:
        time.sleep(0.15)
        return GOOD

    with (
        serving(respond) as server,
        pytest.raises(UserError, match=r"no reply within 0\.05 s after 12 retries"),
    ):
        complete(server.url, timeout=0.05)


def test_complete_names_a_refused_connection() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: refused
        with pytest.raises(UserError, match=r"found no connection \(ConnectError: .*\) after 12 retries"):
            complete(f"http://127.0.0.1:{bound.getsockname()[1]}/v1")


@pytest.mark.parametrize("url", ["http://h:99999/v1", "http://.h/v1"])
def test_complete_names_an_unusable_host(url: str) -> None:
    with pytest.raises(UserError, match="found no connection"):
        complete(url)


# The key -------------------------------------------------------------------------------------------


def test_complete_never_shows_the_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APO_JUDGE_KEY", KEY)
    with serving(in_turn(error(500, f"bad key {KEY}"), error(401, f"bad key {KEY}"))) as server:
        monkeypatch.setenv("APO_JUDGE_URL", server.url)
        with pytest.raises(UserError, match=r"bad key \[key\]") as caught:
            request_all([REQUEST], ReplyCache(tmp_path), JUDGE)
    printed = capsys.readouterr()
    assert KEY not in str(caught.value) + printed.out + printed.err
    assert "judge: status 500 'bad key [key]'" in printed.err
    assert re.search(r"judge: Retrying request in \S+ seconds \(retry 1 of 12\)", printed.err)
    with serving(in_turn(completion(f"{KEY}\nVerdict: A", model=KEY))) as server:
        assert complete(server.url) == Reply("[key]\nVerdict: A", "stop", "[key]")
    with serving(in_turn(completion("A short key is a word."))) as server:
        assert complete(server.url, key="key").text == "A short key is a word."
    escaped = KEY.replace("/", "\\/")
    with (
        serving(in_turn(error(400, f'{{"key": "{escaped}"}}'))) as server,
        pytest.raises(UserError, match=r'"key": "\[key\]"'),
    ):
        complete(server.url)
    assert KEY not in repr(Endpoint("http://x", KEY, 1.0, JUDGE))


def test_complete_sends_no_other_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of a .netrc file nor those of another use of the `openai` package."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hidden\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "another")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer other\nX-Gateway-Token: other")
    for key, header in ((KEY, f"Bearer {KEY}"), ("", None)):
        with serving(in_turn(GOOD)) as server:
            complete(server.url, key=key)
        assert server.headers.get("Authorization") == header
        assert not {"X-Gateway-Token", "OpenAI-Organization", "OpenAI-Project"} & {*server.headers}
    assert os.environ["OPENAI_API_KEY"] == "another"


def test_a_message_has_no_secret_of_the_address() -> None:
    """A proxy may answer with a page that repeats it."""
    page = b"Not found: /v1/chat/completions?token=s3cret%2Fvalue&v=1, s3cret/value"
    with serving(in_turn((404, {}, page))) as server, pytest.raises(UserError) as caught:
        complete(server.url, token="s3cret/value", v="1")
    assert "s3cret" not in str(caught.value) and "v=1" in str(caught.value)


# The environment -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "base", "query"),
    [
        ("http://h:1/v1", "http://h:1/v1", {}),
        ("http://h:1/v1/", "http://h:1/v1", {}),
        ("https://h/v1/chat/completions", "https://h/v1", {}),
        ("https://h/x?api-version=1", "https://h/x", {"api-version": "1"}),
    ],
)
def test_endpoint_from_environment_takes_an_address_in_any_form(
    url: str, base: str, query: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APO_JUDGE_URL", url)
    endpoint = endpoint_from_environment(JUDGE)
    assert (endpoint.url, endpoint.query) == (base, query)


def test_complete_sends_a_query_string_and_never_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving(in_turn(error(400))) as server:
        monkeypatch.setenv("APO_JUDGE_URL", f"{server.url}?secret=hush")
        with pytest.raises(UserError) as caught:
            request_all([REQUEST], ReplyCache(tmp_path), JUDGE)
    assert server.paths == ["/v1/chat/completions?secret=hush"]
    assert "hush" not in str(caught.value) + repr(endpoint_from_environment(JUDGE))
