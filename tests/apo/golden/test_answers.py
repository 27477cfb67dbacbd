"""apo/golden/answers.py: what a model is asked, and which of its replies are golden answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from apo.core.errors import UserError
from apo.golden.answers import Answers, answer_request, ask
from apo.golden.settings import Golden
from tests.helpers.fake_endpoint import Response, completion, error, serving, use_fast_retries

SETTINGS = Golden(model="m", temperature=0.0, max_tokens=32, request={})


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    use_fast_retries(monkeypatch)


def asked(*names: str) -> list[dict[str, Any]]:
    return [{"query_id": name, "query": f"\n\nHuman: question {name}\n\nAssistant:"} for name in names]


def asks(*names: str, **changes: Any) -> Answers:
    return ask(SETTINGS.model_copy(update=changes), asked(*names), source="params.yaml")


def test_answer_request_is_the_whole_dialogue() -> None:
    query = "Be short.\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
    assert answer_request(SETTINGS, query) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Why?"},
        ],
        "temperature": 0.0,
        "max_tokens": 32,
    }


def test_ask_gives_stripped_answers_whole_and_counts_the_truncated_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line that begins with Human is no turn: the model was asked for one answer, and gave it."""

    def respond(request: dict[str, Any], _: int) -> Response:
        name = request["messages"][0]["content"][-1]
        return completion(f" to {name}\nHuman: x\n", "length" if name == "b" else "stop")

    with serving(respond) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        assert asks("a", "b") == Answers(
            {"a": "to a\nHuman: x", "b": "to b\nHuman: x"}, truncated=1, thoughts=0
        )
        asks("b", "c")
        assert len(server.requests) == 3  # b was cached
        asks("a", temperature=1.0)
        assert len(server.requests) == 4  # another setting is another request


def test_ask_needs_no_endpoint_for_no_query() -> None:
    assert asks(model="") == Answers({}, truncated=0, thoughts=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, r"params\.yaml: golden\.model: found no model for the 1 RM queries.*APO_GOLDEN_URL"),
        ({}, r"APO_GOLDEN_URL: found no address; expected where golden\.model .*set data\.golden: chosen"),
    ],
)
def test_ask_names_what_is_not_set(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        asks("a", **changes)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            completion(""),
            r"golden answer to query 'b': found a reply without an answer; .*golden\.temperature",
        ),
        (completion(" \n"), r"golden answer to query 'b': found a reply without an answer; "),
        (completion(None, "length"), r"that reached golden\.max_tokens; .*raise golden\.max_tokens"),
        (
            error(400, "content filter"),
            r"golden answer to query 'b': found status 400 'content filter' .*golden\.model",
        ),
        (
            completion("<think>It is", "length"),
            r"that reached golden\.max_tokens; .*raise golden\.max_tokens",
        ),
        (
            completion("A part of", "content_filter"),
            r"a reply that ended by 'content_filter' after 9 characters",
        ),
        (error(404), r"found status 404 .*correct APO_GOLDEN_URL.*or golden\.model"),
    ],
)
def test_ask_refuses_a_useless_reply_and_keeps_finished_ones(
    bad: Response, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("APO_GOLDEN_PARALLEL", "1")

    def respond(request: dict[str, Any], number: int) -> Response:
        is_bad = "question b" in json.dumps(request) and number < 2
        return bad if is_bad else completion("fine")

    with serving(respond) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        with pytest.raises(UserError, match=message) as caught:
            asks("a", "b", "c")
        assert "\n" not in str(caught.value) and "finished replies are cached" in str(caught.value)
        is_refused = "404" not in message  # then the others are answered nevertheless
        assert len(list((tmp_path / ".cache/golden").rglob("*.json"))) == 1 + is_refused
        assert asks("a", "b", "c").by_id == dict.fromkeys("abc", "fine")  # a useless reply is not cached
        assert len(server.requests) == 4


def test_ask_names_all_queries_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(request: dict[str, Any], _: int) -> Response:
        is_bad = request["messages"][0]["content"][-1] in "bd"
        return error(400, "content filter") if is_bad else completion("fine")

    with serving(respond) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        message = (
            r"golden answers to 2 queries \('b', 'd'\): found status 400 .* for the first; .*data\.files"
        )
        with pytest.raises(UserError, match=message):
            asks("a", "b", "c", "d")
        assert len(server.requests) == 4


def test_ask_names_queries_where_nothing_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda *_: completion("<think>Hm", "length")) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        with pytest.raises(
            UserError, match=r"^golden answers to 2 queries \('a', 'b'\): found a reply without"
        ):
            asks("a", "b")


def test_ask_takes_no_unfinished_thoughts_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the prompt has the tag that begins them, as of some models that think."""

    def respond(request: dict[str, Any], _: int) -> Response:
        is_short = request["messages"][0]["content"][-1] == "a"
        return completion("So.</think>Paris.") if is_short else completion("The user wants", "length")

    with serving(respond) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        with pytest.raises(UserError, match=r"query 'b': found a reply without an answer that reached"):
            asks("a", "b")


def test_ask_leaves_out_thoughts_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"a": "<think>\nWhy?\n</think>\n\nParis.", "b": "So it is.\n</think>\nRome.", "c": "Bonn."}
    with serving(lambda request, _: completion(texts[request["messages"][0]["content"][-1]])) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        assert asks("a", "b", "c") == Answers({"a": "Paris.", "b": "Rome.", "c": "Bonn."}, 0, thoughts=2)


def test_ask_sends_what_the_user_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"max_tokens": None, "temperature": None, "max_completion_tokens": 9, "seed": 1}
    with serving(lambda *_: completion("fine")) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        asks("a", request=options | {"chat_template_kwargs": {"enable_thinking": False}})
        [sent] = server.requests
    assert sent.keys() == {"model", "messages", "max_completion_tokens", "seed", "chat_template_kwargs"}
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    with pytest.raises(ValidationError, match="keys other than messages, which the stage sets"):
        Golden(model="m", temperature=0.0, max_tokens=1, request={"messages": []})
