"""A judge from outside compares answers to the same query: what it is asked, and the record of it.

Every comparison is asked in both orders, since judges prefer a place (Zheng et al., 2023, arXiv 2306.05685):
a win is one in both, everything else that was judged is a tie.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping

from apo.core.errors import UserError
from apo.core.records import Row
from apo.judge.answers import Comparison
from apo.judge.endpoint import Body, Reply
from apo.judge.replies import key_of
from apo.judge.settings import Judge
from apo.judge.verdicts import outcome_of, verdict_of, was_cut

NEEDED = ("query", "answer_a", "answer_b")
_PLACE = re.compile(r"\{([a-z_]+)\}")


def check_template(template: str, *, where: str) -> None:
    """Raises a UserError unless the template names query and answers, and nothing that is not known."""
    names = set(_PLACE.findall(template))
    if not set(NEEDED) <= names <= {*NEEDED, "mark"}:
        raise UserError(
            where,
            found=f"the places {', '.join(sorted(names)) or 'none'}",
            expected="{query}, {answer_a} and {answer_b}, and {mark} if you like",
            do="correct the template",
        )


def prompt_of(template: str, query: str, answer_a: str, answer_b: str) -> str:
    """The template with its places filled, at once: a place that is named inside a text stays as it is.

    `{mark}` becomes a word that no text holds and that follows from the texts: an answer can't write the
    lines that part the texts.

    >>> prompt_of("{query}|{answer_a}|{answer_b}", "{answer_b}?", "{query}", "b")
    '{answer_b}?|{query}|b'
    """
    texts = {"query": query.strip(), "answer_a": answer_a, "answer_b": answer_b}
    marks = (_digest(f"{number}\0" + "\0".join(texts.values()))[:8] for number in itertools.count())
    mark = next(mark for mark in marks if not any(mark in text for text in texts.values()))
    return _PLACE.sub(lambda place: (texts | {"mark": mark})[place[1]], template)


def request_of(settings: Judge, prompt: str) -> Body:
    """What is sent: model, prompt and settings, and so what an answer is kept under."""
    return {
        "model": settings.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }


def questions(settings: Judge, comparison: Comparison) -> tuple[Body, ...]:
    """A comparison in both orders; none where the answers are equal, which needs no judge."""
    first, second = comparison.answers
    if first == second:
        return ()
    orders = ((first, second), (second, first))
    prompts = (prompt_of(settings.prompt, comparison.query, a, b) for a, b in orders)
    return tuple(request_of(settings, prompt) for prompt in prompts)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def verdict_row(settings: Judge, comparison: Comparison, replies: Mapping[str, Reply]) -> Row:
    """One comparison as a record; `forward` shows the first answer as A, `backward` as B."""
    asked = [_told(body, replies[key_of(body)]) for body in questions(settings, comparison)]
    forward, backward = asked or (None, None)
    return {
        "query_id": comparison.query_id,
        "first": comparison.names[0],
        "second": comparison.names[1],
        "outcome": outcome_of(forward["verdict"], backward["verdict"]) if forward and backward else "tie",
        "score_difference": comparison.score_difference,
        "further_samples": comparison.further_samples,
        "model": settings.model,
        "forward": forward,
        "backward": backward,
    }


def _told(body: Body, reply: Reply) -> Row:
    return {
        "verdict": verdict_of(reply),
        "prompt_sha256": _digest(body["messages"][0]["content"]),
        "reply": reply.text,
        "cut": was_cut(reply),
        "served_by": reply.served_by,
    }
