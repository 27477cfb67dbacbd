"""The prompts of a comparison, and the record of the judge's replies to them.

The judge sees every comparison in both orders, because judges have a position bias (Zheng et al., 2023,
arXiv 2306.05685). A win is a win in both orders; every other judged comparison is a tie.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping

from apo.core.errors import UserError
from apo.core.records import Row
from apo.endpoint.options import with_options
from apo.endpoint.reply_cache import Reply, Request, request_key
from apo.endpoint.service import Service
from apo.judge.pairs import Comparison
from apo.judge.settings import Judge
from apo.judge.verdicts import outcome_of, parse_verdict

JUDGE = Service("judge", opt_out="set judge.model: '' for no judge")
REQUIRED_PLACEHOLDERS = ("query", "answer_a", "answer_b")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def check_template(template: str, *, source: str) -> None:
    """Raises a UserError unless the template has all required placeholders and no unknown one."""
    names = set(_PLACEHOLDER.findall(template))
    if not set(REQUIRED_PLACEHOLDERS) <= names <= {*REQUIRED_PLACEHOLDERS, "mark"}:
        raise UserError(
            source,
            found=f"the placeholders {', '.join(sorted(names)) or 'none'}",
            expected="{query}, {answer_a} and {answer_b}, and optionally {mark}",
            do="correct the template",
        )


def fill_template(template: str, query: str, answer_a: str, answer_b: str) -> str:
    """Fills all placeholders in one pass: a placeholder inside a text stays as it is.

    `{mark}` becomes a word that follows from the texts and occurs in none of them, so an answer can't write
    the lines that separate the texts.

    >>> fill_template("{query}|{answer_a}|{answer_b}", "{answer_b}?", "{query}", "b")
    '{answer_b}?|{query}|b'
    """
    texts = {"query": query.strip(), "answer_a": answer_a, "answer_b": answer_b}
    candidates = (_sha256(f"{number}\0" + "\0".join(texts.values()))[:8] for number in itertools.count())
    mark = next(mark for mark in candidates if not any(mark in text for text in texts.values()))
    return _PLACEHOLDER.sub(lambda placeholder: (texts | {"mark": mark})[placeholder[1]], template)


def chat_request(settings: Judge, prompt: str) -> Request:
    """The request for one prompt: the model, the prompt and the sampling settings."""
    request = {
        "model": settings.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }
    return with_options(request, settings.request)


def comparison_requests(settings: Judge, comparison: Comparison) -> tuple[Request, ...]:
    """The requests for a comparison in both orders; empty if the answers are equal and need no judge."""
    first, second = comparison.answers
    if first == second:
        return ()
    orders = ((first, second), (second, first))
    prompts = (fill_template(settings.prompt, comparison.query, a, b) for a, b in orders)
    return tuple(chat_request(settings, prompt) for prompt in prompts)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def verdict_row(settings: Judge, comparison: Comparison, replies: Mapping[str, Reply]) -> Row:
    """The record of one comparison; `forward` shows the first answer as A, `backward` as B.

    Args:
        replies: Replies by `request_key`, among them those of this comparison that were not refused.
    """
    requests = comparison_requests(settings, comparison)
    rows = [_reply_row(request, replies.get(request_key(request))) for request in requests]
    forward, backward = rows or (None, None)
    return {
        "query_id": comparison.query_id,
        "first": comparison.models[0],
        "second": comparison.models[1],
        "outcome": outcome_of(forward["verdict"], backward["verdict"]) if forward and backward else "tie",
        "score_difference": comparison.reward_difference,
        "further_samples": comparison.unused_samples,
        "model": settings.model,
        "forward": forward,
        "backward": backward,
    }


def _reply_row(request: Request, reply: Reply | None) -> Row:
    is_refused, reply = reply is None, reply or Reply("", None, None)
    return {
        "verdict": parse_verdict(reply),
        "prompt_sha256": _sha256(request["messages"][0]["content"]),
        "reply": reply.text,
        "cut": reply.is_truncated,
        "refused": is_refused,
        "served_by": reply.served_by,
    }
