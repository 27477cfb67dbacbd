"""An endpoint that fails in every way, over real HTTP: asked again or ended in one line; its key is safe."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.judge import endpoint
from apo.judge.asking import request_of
from apo.judge.endpoint import Body, Endpoint, Reply, Stopped, endpoint_of_environment
from apo.judge.replies import ReplyCache, ask_all, key_of
from tests.helpers.fake_judge import Answer, completion, error, serving, settings

KEY = "sk-very/secret"
BODY: Body = request_of(settings(), "Which?")
GOOD = completion("Verdict: A")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of hundredths of a second; the key of the user who runs the tests is not used."""
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    for name in ("APO_JUDGE_URL", "APO_JUDGE_KEY", "APO_JUDGE_PARALLEL", "APO_JUDGE_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Reply]:
    def ask(url: str, timeout: float = 5.0) -> Reply:
        where = Endpoint(url + "/chat/completions", KEY, timeout)
        with where.session() as session:
            return where.ask(session, BODY, threading.Event())

    return ask


Ask = Callable[..., Reply]


def scripted(*script: Answer) -> Callable[[Body, int], Answer]:
    """Those answers one after the other, the last one for ever."""
    return lambda _, number: script[min(number, len(script) - 1)]


def test_a_request_and_its_answer(ask: Ask) -> None:
    with serving(scripted(GOOD)) as served:
        assert ask(served.url) == Reply("Verdict: A", "stop", "m-2026")
    assert served.paths == ["/v1/chat/completions"]
    assert served.headers["Authorization"] == f"Bearer {KEY}"
    assert served.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Which?"}],
            "temperature": 0.0,
            "max_tokens": 512,
        }
    ]


PASSING = {
    "error 500": error(500),
    "overloaded": error(503, "overloaded"),
    "rate limit": error(429),
    "garbage": (200, {}, b"<html>"),
    "not UTF-8": (200, {}, b'{"choices": "\xff\xfe"}'),
    "half a JSON": (200, {}, GOOD[2][:-5]),
    "no object": (200, {}, b"[1, 2]"),
    "no choices": completion("x", choices=[]),
    "choices of another kind": completion("x", choices={"0": 1}),
    "no message": completion("x", choices=[{"index": 0}]),
    "parts in the place of text": completion("x", choices=[{"message": {"content": [{"text": "A"}]}}]),
    "an error with status 200": (200, {}, b'{"error": {"message": "overloaded"}}'),
    "half a surrogate pair": completion("\ud800"),
    "cut off": (200, {"Content-Length": "10000"}, GOOD[2]),
    "no gzip": (200, {"Content-Encoding": "gzip"}, GOOD[2]),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_asked_again(name: str, ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(lambda body, n: PASSING[name] if n < 2 else GOOD) as served:
        assert ask(served.url, timeout=0.5 if name == "cut off" else 5.0).text == "Verdict: A"
        assert len(served.bodies) == 3
    assert capsys.readouterr().err.count("asks again in") == 2


@pytest.mark.parametrize("name", sorted(PASSING.keys() - {"cut off"}))
def test_what_does_not_pass_ends_in_one_line(name: str, ask: Ask) -> None:
    with serving(scripted(PASSING[name])) as served, pytest.raises(UserError) as caught:
        ask(served.url)
    assert len(served.bodies) == endpoint.TRIES == 6
    message = str(caught.value)
    assert message.startswith(f"{served.url}/chat/completions: found ") and "at try 6 of 6" in message
    assert "the answers so far are kept" in message and "\n" not in message


def test_waits_double(ask: Ask, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.25)
    times: list[float] = []

    def behave(_: Body, number: int) -> Answer:
        times.append(time.monotonic())
        return error(500) if number < 3 else GOOD

    with serving(behave) as served:
        ask(served.url)
    told = [float(text) for text in re.findall(r"asks again in ([\d.]+) s", capsys.readouterr().err)]
    waited = [later - earlier for earlier, later in pairwise(times)]
    for said, seen, wanted in zip(told, waited, (0.25, 0.5, 1.0), strict=True):
        assert 0.8 * wanted - 0.05 <= said <= 1.2 * wanted + 0.05
        assert seen >= 0.8 * wanted


def test_retry_after_is_obeyed(ask: Ask) -> None:
    with serving(scripted(error(429, Retry_After="1"), GOOD)) as served:
        began = time.monotonic()
        ask(served.url)
        assert 1.0 <= time.monotonic() - began < 3.0


def test_retry_after_as_a_date_and_as_nonsense(ask: Ask) -> None:
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    script = [error(429, Retry_After=past), error(429, Retry_After="soon"), GOOD]
    with serving(scripted(*script)) as served:
        began = time.monotonic()
        ask(served.url)
        assert time.monotonic() - began < 1.0


def test_who_asks_to_wait_for_long_is_away(ask: Ask) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for header in ("3600", later):
        with (
            serving(scripted(error(429, "quota", Retry_After=header))) as served,
            pytest.raises(UserError, match=r"status 429 'quota' at try 1 of 6, which asks to wait 3\d\d\d s"),
        ):
            ask(served.url)
        assert len(served.bodies) == 1


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "judge.max_tokens"),
        (401, "APO_JUDGE_KEY"),
        (403, "APO_JUDGE_KEY"),
        (404, "it mostly ends in /v1"),
        (422, "judge.temperature"),
        (308, "not followed elsewhere"),
    ],
)
def test_a_refusal_ends_at_once(status: int, remedy: str, ask: Ask) -> None:
    with (
        serving(scripted(error(status, "no\n such \x1b[31m model", Location="/v2"))) as served,
        pytest.raises(UserError, match=rf"status {status} 'no such \?\[31m model' .*{remedy}"),
    ):
        ask(served.url)
    assert len(served.bodies) == 1


def test_a_slow_one(ask: Ask) -> None:
    def behave(_: Body, number: int) -> Answer:
        time.sleep(0.6 if number < 1 else 0.0)
        return GOOD

    with serving(behave) as served:
        assert ask(served.url, timeout=0.2).text == "Verdict: A"
        assert len(served.bodies) == 2


def test_nobody_there(ask: Ask) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(UserError, match=r"found no connection, or one that broke at try 6 of 6"):
            ask(url)


def test_waiting_ends_when_the_run_does() -> None:
    stop = threading.Event()
    with serving(scripted(error(503, Retry_After="60"))) as served:
        where = Endpoint(served.url + "/chat/completions", "", 5.0)
        threading.Timer(0.2, stop.set).start()
        began = time.monotonic()
        with where.session() as session, pytest.raises(Stopped):
            where.ask(session, BODY, stop)
        assert time.monotonic() - began < 5.0


# The key -------------------------------------------------------------------------------------------


def test_the_key_is_shown_nowhere(ask: Ask, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Also where the endpoint sends it back."""
    script = [error(500, f"bad key {KEY}"), error(401, f"bad key {KEY}")]
    with serving(scripted(*script)) as served, pytest.raises(UserError) as caught:
        ask(served.url)
    assert "bad key [key]" in str(caught.value)
    printed = capsys.readouterr()
    assert KEY not in str(caught.value) + printed.out + printed.err
    assert "bad key [key]" in printed.err
    with serving(scripted(completion(f"{KEY}\nVerdict: A", model=KEY))) as served:
        assert ask(served.url) == Reply("[key]\nVerdict: A", "stop", "[key]")
    escaped = KEY.replace("/", "\\/")
    script = [error(400, f'{{"key": "{escaped}"}}')]
    with serving(scripted(*script)) as served, pytest.raises(UserError, match=r'"key": "\[key\]"'):
        ask(served.url)
    assert KEY not in repr(Endpoint("http://x", KEY, 1.0))


def test_without_a_key_no_netrc_is_read(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hidden\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for key, sent in ((KEY, f"Bearer {KEY}"), ("", None)):
        with serving(scripted(GOOD)) as served:
            where = Endpoint(served.url + "/chat/completions", key, 5.0)
            with where.session() as session:
                where.ask(session, BODY, threading.Event())
        assert served.headers.get("Authorization") == sent


# The environment -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://h:1/v1", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("https://h/v1/chat/completions", "https://h/v1/chat/completions"),
        ("https://h/x?api-version=1", "https://h/x/chat/completions?api-version=1"),
    ],
)
def test_the_address(url: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_JUDGE_URL", url)
    assert endpoint_of_environment().url == asked


def test_an_address_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APO_JUDGE_URL", "https://me:word@h:1/v1?token=abc")
    assert endpoint_of_environment().shown == "https://h:1/v1/chat/completions"


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("APO_JUDGE_URL", "", "no address"),
        ("APO_JUDGE_URL", "ftp://me:word@h", "an address that is not http or https"),
        ("APO_JUDGE_URL", "localhost:8000/v1", "an address that is not http or https"),
        ("APO_JUDGE_KEY", f"{KEY}\n", "white space"),
        ("APO_JUDGE_KEY", f"{KEY}\u00fc", "white space or a character that is not ASCII"),
        ("APO_JUDGE_TIMEOUT", "0", "'0'"),
        ("APO_JUDGE_TIMEOUT", "\u00b2", "'\u00b2'"),
    ],
)
def test_an_environment_that_can_not_be_used(
    name: str, value: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APO_JUDGE_URL", "http://h/v1")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"^{name}: found {found}") as caught:
        endpoint_of_environment()
    assert KEY not in str(caught.value) and "word" not in str(caught.value)


def test_an_address_that_requests_refuses(ask: Ask) -> None:
    for url in ("http://h:99999/v1", "http://.h/v1"):
        with pytest.raises(UserError):
            ask(url)


# The cache -----------------------------------------------------------------------------------------


def bodies(number: int) -> list[Body]:
    return [request_of(settings(), f"prompt {index}") for index in range(number)]


def test_nothing_is_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ReplyCache(tmp_path)
    with serving(lambda body, _: completion("to " + body["messages"][0]["content"])) as served:
        monkeypatch.setenv("APO_JUDGE_URL", served.url)
        found = ask_all(bodies(9) + bodies(4), cache)
        assert sorted(served.prompts) == [f"prompt {index}" for index in range(9)]
        assert {key: reply.text for key, reply in found.items()} == {
            key_of(body): f"to prompt {index}" for index, body in enumerate(bodies(9))
        }
        assert ask_all(bodies(10), cache).items() >= found.items()
        assert len(served.bodies) == 10
    monkeypatch.delenv("APO_JUDGE_URL")
    assert len(ask_all(bodies(10), cache)) == 10  # needs no endpoint
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    "change",
    [{"model": "n"}, {"temperature": 0.5}, {"max_tokens": 8}],
    ids=lambda change: next(iter(change)),
)
def test_another_setting_is_another_question(change: dict[str, object], tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    cache.put(BODY, Reply("x", "stop", None))
    assert cache.get(BODY) == Reply("x", "stop", None)
    assert cache.get(request_of(settings(**change), "Which?")) is None
    assert cache.get(request_of(settings(), "Who?")) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"reply": {}}', b"\xff", "request", "text"])
def test_a_damaged_file_is_asked_for_again(
    damage: bytes | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ReplyCache(tmp_path)
    cache.put(BODY, Reply("old", "stop", None))
    (path,) = tmp_path.rglob("*.json")
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        content = json.loads(path.read_text())
        content |= {"request": {}} if damage == "request" else {"reply": content["reply"] | {"text": None}}
        path.write_text(json.dumps(content))
    with serving(scripted(completion("new"))) as served:
        monkeypatch.setenv("APO_JUDGE_URL", served.url)
        assert ask_all([BODY], cache)[key_of(BODY)].text == "new"
    assert cache.get(BODY) == Reply("new", "stop", "m-2026")


@pytest.mark.parametrize("workers", [1, 3])
def test_what_was_answered_before_a_failure_is_kept(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request is refused; those that are under way end and are kept, no other is begun."""

    def behave(body: Body, number: int) -> Answer:
        if body["messages"][0]["content"] == "prompt 4" and not mended:
            return error(400, "too long")
        time.sleep(0.05)
        return completion("x")

    mended: list[bool] = []
    cache = ReplyCache(tmp_path)
    with serving(behave) as served:
        monkeypatch.setenv("APO_JUDGE_URL", served.url)
        monkeypatch.setenv("APO_JUDGE_PARALLEL", str(workers))
        with pytest.raises(UserError, match="too long"):
            ask_all(bodies(12), cache)
        kept = sum(cache.get(body) is not None for body in bodies(12))
        assert kept == len(served.bodies) - 1
        assert 4 <= kept <= 4 + workers
        mended.append(True)
        assert len(ask_all(bodies(12), cache)) == 12
        assert len(served.bodies) == 13
    assert not [thread for thread in threading.enumerate() if thread.name == "judge"]


def test_so_many_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[int] = [0]
    most: list[int] = [0]
    lock = threading.Lock()

    def behave(_: Body, number: int) -> Answer:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return GOOD

    with serving(behave) as served:
        monkeypatch.setenv("APO_JUDGE_URL", served.url)
        monkeypatch.setenv("APO_JUDGE_PARALLEL", "3")
        ask_all(bodies(12), ReplyCache(tmp_path))
    assert most == [3]


def test_no_room_for_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with serving(scripted(GOOD)) as served:
        monkeypatch.setenv("APO_JUDGE_URL", served.url)
        with pytest.raises(UserError, match="expected room for an answer of the judge"):
            ask_all([BODY], ReplyCache(tmp_path / "file"))
