"""Golden answers by a model behind an endpoint: the requests, and the answers from the replies."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.core.records import Row
from apo.endpoint.reply_cache import Reply, Request, repository_cache, request_key
from apo.endpoint.service import Service
from apo.golden.settings import Golden

GOLDEN = Service("golden", opt_out="set data.golden: chosen, or bring golden answers under data.files.golden")


class Answers(NamedTuple):
    """Answers of a model by query id, and how many of them reached `golden.max_tokens`."""

    by_id: dict[str, str]
    truncated: int


def answer_request(settings: Golden, query: str) -> Request:
    """The request for an answer to a query: the dialogue as messages, and the sampling settings."""
    return {
        "model": settings.model,
        "messages": dialogue_to_messages(query),
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }


def ask(settings: Golden, queries: Iterable[Row], *, source: str) -> Answers:
    """The model's answer to every query, from the cache or from the endpoint that the environment names.

    Args:
        queries: Rows `{query_id, query}`.
        source: The file of the parameters, for error messages.

    Raises:
        UserError: No model is named, the endpoint is unreachable or refuses a request, or a reply is blank.
    """
    requests = {row["query_id"]: answer_request(settings, row["query"]) for row in queries}
    if not requests:
        return Answers({}, 0)
    if not settings.model:
        raise UserError(
            f"{source}: golden.model",
            found=f"no model for the {len(requests):,} RM queries that have no golden answer",
            expected="the name under which an endpoint serves a model",
            do=f"name it and export {GOLDEN.variable('URL')}, or {GOLDEN.opt_out}",
        )
    from apo.endpoint.client import request_all  # a second

    id_by_key = {request_key(request): query_id for query_id, request in requests.items()}
    replies = request_all(
        requests.values(),
        repository_cache(GOLDEN),
        GOLDEN,
        check=lambda request, reply: _check(reply, id_by_key[request_key(request)]),
    )
    return _answers(requests, replies)


WHOLE = ("stop", "length", None)
"""Finish reasons of an answer that can be used; `length` is counted. Some servers give none."""


def _check(reply: Reply, query_id: str) -> None:
    if reply.finish_reason not in WHOLE:
        raise UserError(
            f"golden answer to query {query_id!r}",
            found=f"a reply that ended by {reply.finish_reason!r} after {len(reply.text):,} characters",
            expected="a whole answer (stop), or one that reached golden.max_tokens (length)",
            do="choose another golden.model, or bring an answer under data.files.golden; finished replies "
            "are cached, and `dvc repro` sends the missing requests only",
        )
    if reply.text.strip():
        return
    do = "choose another golden.model or golden.temperature"
    if reply.is_truncated:
        do = "raise golden.max_tokens: a model that thinks first has used them up"
    raise UserError(
        f"golden answer to query {query_id!r}",
        found="a reply without text" + (" that reached golden.max_tokens" if reply.is_truncated else ""),
        expected="an answer",
        do=f"{do}; finished replies are cached, and `dvc repro` sends the missing requests only",
    )


def _answers(requests: Mapping[str, Request], replies: Mapping[str, Reply]) -> Answers:
    reply_by_id = {query_id: replies[request_key(request)] for query_id, request in requests.items()}
    for query_id, reply in reply_by_id.items():
        _check(reply, query_id)  # those of the cache too
    texts = {query_id: reply.text.strip() for query_id, reply in reply_by_id.items()}
    return Answers(texts, sum(reply.is_truncated for reply in reply_by_id.values()))
