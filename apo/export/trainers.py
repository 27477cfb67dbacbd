"""Records in the formats that TRL's trainers read: pairs, prompts with completions, messages.

In plain text, prompt + chosen and prompt + completion are the dialogue as the models here read it, so a
response begins with the space after `Assistant:`.
"""

from collections.abc import Iterator
from itertools import permutations

from apo.core.dialogue import dialogue_to_messages, messages_to_dialogue
from apo.core.errors import UserError
from apo.core.records import Row
from apo.export.kinds import UnfitError, kind_of
from apo.selection import rank_by_reward


def to_pairs(row: Row, *, where: str) -> Iterator[Row]:
    """{prompt, chosen, rejected}: every ordered pair of a comparison; the best and the worst of a selection.

    Equal texts are no pair. The worst is the non-blank sample with the lowest score. There is no pair if it
    has the text or the score of the best.

    Raises:
        UserError: The record is neither a comparison nor a selection.
    """
    for chosen, rejected in _ordered_pairs(row, where=where):
        yield {"prompt": row["query"], "chosen": f" {chosen}", "rejected": f" {rejected}"}


def to_chat_pairs(row: Row, *, where: str) -> Iterator[Row]:
    """The same with lists of messages."""
    for chosen, rejected in _ordered_pairs(row, where=where):
        prompt = _messages(row["query"], (chosen, rejected), where=where)
        yield {"prompt": prompt, "chosen": [_as_message(chosen)], "rejected": [_as_message(rejected)]}


def to_dialogues(row: Row, *, where: str) -> Iterator[Row]:
    """{chosen, rejected} as whole conversations, each a list of messages."""
    for pair in to_chat_pairs(row, where=where):
        yield {key: pair["prompt"] + pair[key] for key in ("chosen", "rejected")}


_SCORED_KEYS = {
    "comparison": ("responses", "scores"),
    "selection": ("samples", "scores"),
    "samples": ("samples", "source_rewards"),
}


def to_answers(row: Row, *, where: str) -> Iterator[Row]:
    """{query_id, prompt, answers: [{text, score}, ...]}: all responses of a query with their scores.

    Raises:
        UserError: The record has no scores for its responses.
    """
    kind = kind_of(row, where=where)
    texts, scores = _SCORED_KEYS.get(kind, ("", ""))
    if scores not in row or len(row[texts]) != len(row[scores]):
        raise UserError(
            where,
            found=f"{kind} with keys {sorted(row)}",
            expected="a comparison, a selection, or samples with the rewards of their source",
            do="export data/rjs, which has the samples with their rewards, or a file of comparisons",
        )
    answers = [{"text": text, "score": score} for text, score in zip(row[texts], row[scores], strict=True)]
    yield {"query_id": row["query_id"], "prompt": row["query"], "answers": answers}


def to_sft(row: Row, *, where: str) -> Iterator[Row]:
    """{prompt, completion} of a selection, a golden answer or a demonstration.

    Raises:
        UserError: The record is none of these.
    """
    answer = _answer(row, where=where)
    yield {"prompt": row["query"], "completion": f" {answer}"}


def to_chat_sft(row: Row, *, where: str) -> Iterator[Row]:
    """The same with lists of messages."""
    answer = _answer(row, where=where)
    yield {"prompt": _messages(row["query"], (answer,), where=where), "completion": [_as_message(answer)]}


def to_chat(row: Row, *, where: str) -> Iterator[Row]:
    """{messages}: the whole conversation."""
    answer = _answer(row, where=where)
    yield {"messages": [*_messages(row["query"], (answer,), where=where), _as_message(answer)]}


def _ordered_pairs(row: Row, *, where: str) -> Iterator[tuple[str, str]]:
    """Better and worse responses."""
    kind = kind_of(row, where=where)
    if kind == "comparison":
        texts, scores = row["responses"], row["scores"]
        for better, worse in permutations(range(len(texts)), 2):
            if scores[better] > scores[worse] and texts[better] != texts[worse]:
                yield texts[better], texts[worse]
    elif kind == "selection":
        texts, scores = row["samples"], row["scores"]
        ranked = rank_by_reward(texts, scores)
        if ranked and scores[ranked[0]] > scores[ranked[-1]] and texts[ranked[0]] != texts[ranked[-1]]:
            yield texts[ranked[0]], texts[ranked[-1]]
    else:
        raise UserError(
            where,
            found=f"{kind} with keys {sorted(row)}",
            expected="a comparison: query, responses, scores; or a selection: query, samples, scores, target",
            do="export a file of comparisons, or one that rjs wrote",
        )


_ANSWER_KEY = {"selection": "target", "golden": "golden", "demonstration": "response"}


def _answer(row: Row, *, where: str) -> str:
    kind = kind_of(row, where=where)
    if kind not in _ANSWER_KEY:
        raise UserError(
            where,
            found=f"{kind} with keys {sorted(row)}",
            expected="a selection, a golden answer or a demonstration",
            do="export a file that has one answer a row, such as data/rjs/r1/apo.jsonl",
        )
    return str(row[_ANSWER_KEY[kind]])


def _as_message(answer: str) -> Row:
    return {"role": "assistant", "content": answer}


def _messages(query: str, answers: tuple[str, ...], *, where: str) -> list[dict[str, str]]:
    """The query as messages, from which query and answers can be restored.

    Raises:
        UnfitError: They can't, for example because of a turn mark in an answer.
    """
    messages = dialogue_to_messages(query)
    for answer in answers:
        try:
            is_equal = messages_to_dialogue([*messages, _as_message(answer)]) == (query, answer)
        except UserError:  # two turns of one role, a turn mark in the answer
            is_equal = False
        if not is_equal:
            raise UnfitError(
                where,
                found=f"a dialogue that messages can't hold ({query[:60]!r}... and {answer[:20]!r})",
                expected="turns of user and assistant in turn, one space and no mark before each text",
                do="fix the row, add --leave-out, or export it as text",
            )
    return messages
