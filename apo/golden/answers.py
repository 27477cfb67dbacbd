"""Golden answers by a model behind an endpoint: the requests, and the answers from the replies."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.core.records import Row
from apo.endpoint.options import with_options
from apo.endpoint.reply_cache import Reply, Request, repository_cache, request_key
from apo.endpoint.service import Service
from apo.golden.settings import Golden

GOLDEN = Service("golden", opt_out="set data.golden: chosen, or bring golden answers under data.files.golden")


class Answers(NamedTuple):
    """Answers of a model by query id.

    Attributes:
        by_id: The answers.
        truncated: How many of them reached `golden.max_tokens`.
        thoughts: How many followed thoughts, which are left out.
    """

    by_id: dict[str, str]
    truncated: int
    thoughts: int


def answer_request(settings: Golden, query: str) -> Request:
    """The request for an answer to a query: the dialogue as messages, and the sampling settings."""
    request = {
        "model": settings.model,
        "messages": dialogue_to_messages(query),
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }
    return with_options(request, settings.request)


def ask(settings: Golden, queries: Iterable[Row], *, source: str) -> Answers:
    """The model's answer to every query, from the cache or from the endpoint that the environment names.

    Args:
        queries: Rows `{query_id, query}`.
        source: The file of the parameters, for error messages.

    Raises:
        UserError: No model is named, the endpoint is unreachable, or a request is refused or has no answer.
    """
    requests = {row["query_id"]: answer_request(settings, row["query"]) for row in queries}
    if not requests:
        return Answers({}, 0, 0)
    if not settings.model:
        raise UserError(
            f"{source}: golden.model",
            found=f"no model for the {len(requests):,} RM queries that have no golden answer",
            expected="the name under which an endpoint serves a model",
            do=f"name it and export {GOLDEN.variable('URL')}, or {GOLDEN.opt_out}",
        )
    from apo.endpoint.client import RefusedError  # a second
    from apo.endpoint.request_all import request_all

    refused: dict[str, RefusedError] = {}

    def check(_: Request, reply: Reply) -> None:
        if problem := _problem(reply):
            raise RefusedError("reply", found=problem[0], expected="an answer", do=problem[1])

    replies: dict[str, Reply] = {}
    with contextlib.suppress(RefusedError):  # where all are refused; they are in `refused`
        replies = request_all(
            requests.values(), repository_cache(GOLDEN), GOLDEN, refused=refused, check=check
        )
    keys = {query_id: request_key(request) for query_id, request in requests.items()}
    thinks = any(THOUGHT_END in reply.text for reply in replies.values())
    for key, reply in replies.items():  # those of the cache too
        if problem := _problem(reply, thinks=thinks):
            refused[key] = RefusedError("reply", found=problem[0], expected="an answer", do=problem[1])
    if refused:
        query_ids = [query_id for query_id, key in keys.items() if key in refused]
        raise _error(query_ids, refused[keys[query_ids[0]]])
    return _answers({query_id: replies[key] for query_id, key in keys.items()})


NAMED = 20
"""Queries that a message names."""
WHOLE = ("stop", "length", None)
"""Finish reasons of an answer that can be used; `length` is counted. Some servers give none."""
THOUGHT, THOUGHT_END = "<think>", "</think>"
"""Around thoughts, where the server leaves them in the text; the first may be a part of the prompt."""
CACHED = "finished replies are cached, and `dvc repro` sends the missing requests only"


def _answer(reply: Reply, *, thinks: bool = False) -> str:
    """The text of a reply without thoughts; "" if they have not ended.

    Args:
        thinks: Whether the model writes thoughts. Then a truncated reply without their end is all thoughts.
    """
    if thinks and reply.is_truncated and THOUGHT_END not in reply.text:
        return ""
    text = reply.text.rpartition(THOUGHT_END)[2].strip()
    return "" if text.startswith(THOUGHT) else text


def _problem(reply: Reply, *, thinks: bool = False) -> tuple[str, str] | None:
    """What is wrong with a reply, and what to do."""
    other_model = "choose another golden.model"
    if reply.finish_reason not in WHOLE:
        found = f"a reply that ended by {reply.finish_reason!r} after {len(reply.text):,} characters"
        return found, f"{other_model}, or bring an answer under data.files.golden"
    if _answer(reply, thinks=thinks):
        return None
    if reply.is_truncated:
        return "a reply without an answer that reached golden.max_tokens", (
            "raise golden.max_tokens: a model that thinks first has used them up"
        )
    return "a reply without an answer", f"{other_model} or golden.temperature"


def _error(query_ids: list[str], first: UserError) -> UserError:
    many = len(query_ids) > 1
    names = ", ".join(map(repr, query_ids[:NAMED])) + (", ..." if len(query_ids) > NAMED else "")
    brought = "" if "data.files.golden" in first.do else ", or bring answers under data.files.golden"
    remedy = first.do.removesuffix(f"; {CACHED}")
    return UserError(
        f"golden answers to {len(query_ids):,} queries ({names})"
        if many
        else f"golden answer to query {names}",
        found=f"{first.found}{' for the first' if many else ''}",
        expected="an answer",
        do=f"{remedy}{brought}; {CACHED}",
    )


def _answers(replies: Mapping[str, Reply]) -> Answers:
    return Answers(
        {query_id: _answer(reply) for query_id, reply in replies.items()},
        sum(reply.is_truncated for reply in replies.values()),
        sum(THOUGHT_END in reply.text for reply in replies.values()),
    )
