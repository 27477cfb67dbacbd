"""Parses rows in the formats of public preference sets: indices, grades, votes, paired columns."""

import json
from collections import Counter
from typing import Any

from apo.core.records import Row
from apo.datasets.context import answers_to, conversation_of, prompted
from apo.datasets.fields import (
    list_in,
    number_in,
    number_of_cell,
    query_in,
    refuse,
    scores_in,
    text_in,
    texts_in,
)
from apo.datasets.messages import answered, messages_in
from apo.datasets.paired_columns import PairedColumns, scores_of, verdict_in
from apo.datasets.parsed import Bind, Names, Parse, ParsedRow, of_pairs


def indexed(first: Row, names: Names) -> Parse:
    """Two responses and the index of the better one, as PKU-SafeRLHF has it."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        scores = verdict_in(row[names["better"]], names["better"], ("0", "1"), where)
        return prompted(row, ("response_0", "response_1"), scores, where, counts, names)

    return parse


def scored(first: Row, names: Names) -> Parse:
    """Two responses, each with its score in a separate column."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        scores = [number_in(row[key], key, where) for key in ("score_0", "score_1")]
        return prompted(row, ("response_0", "response_1"), scores, where, counts, names)

    return parse


def by_strength(first: Row, names: Names) -> Parse:
    """Two responses and how much the second is better, below 0 where the first is, as HelpSteer has it."""
    keys = (names["first"], names["second"])

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        strength = number_in(row[names["strength"]], names["strength"], where)
        scores = [max(-strength, 0.0), max(strength, 0.0)]
        return prompted(row, keys, scores, where, counts, names)

    return parse


def history(first: Row, names: Names) -> Parse:
    """A post with two comments, label 1 where A is preferred, as the Stanford Human Preferences have it."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        label = number_of_cell(row["labels"])
        meaning = {0.0: "B", 1.0: "A"}.get(float(label)) if isinstance(label, int | float) else label
        if meaning is None and label is not None:
            refuse("bad_score", where, "labels", f"{label!r:.40}", "1 where A is preferred, or 0")
        scores = verdict_in(meaning, "labels", ("A", "B"), where)
        return prompted(row, ("human_ref_A", "human_ref_B"), scores, where, counts, {"prompt": "history"})

    return parse


def listed(first: Row, names: Names) -> Parse:
    """A prompt with a list of responses and a list of their scores."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        responses = texts_in(row, "responses", where)
        scores = scores_in(row, "scores", len(responses), where)
        return answers_to(row, responses, scores, where, counts, names)

    return parse


_ANSWERS = ("answer", "text", "response")
_GRADES = {"rank": -1.0, "pm_score": 1.0, "overall_score": 1.0, "score": 1.0}  # rank 1 is the best


def answer_list(key: str) -> Bind:
    """A prompt with a list of answers, each with its rank or score, as Nectar and UltraFeedback have it."""

    def bind(first: Row, names: Names) -> Parse:
        def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
            graded = [_graded(entry, key, where) for entry in list_in(row, key, where)]
            texts, scores = [text for text, _ in graded], [score for _, score in graded]
            return answers_to(row, texts, scores, where, counts, names)

        return parse

    return bind


def _graded(value: Any, key: str, where: str) -> tuple[str, float]:
    texts = [name for name in _ANSWERS if isinstance(value, dict) and value.get(name) is not None]
    grades = [name for name in _GRADES if isinstance(value, dict) and value.get(name) is not None]
    if len(texts) != 1 or len(grades) != 1:
        found = f"an entry with {texts or 'no text'} and {grades or 'no score'}"
        expected = f"one of {', '.join(_ANSWERS)} and one of {', '.join(_GRADES)}"
        refuse("not_text" if len(texts) != 1 else "bad_score", where, key, found, expected)
    return text_in(value[texts[0]], key, where), _GRADES[grades[0]] * number_in(value[grades[0]], key, where)


def arena(first: Row, names: Names) -> Parse:
    """Two conversations and the winner, as Chatbot Arena has it."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        scores = verdict_in(row["winner"], "winner", ("a", "b"), where)
        keys = ("conversation_a", "conversation_b")
        return of_pairs([conversation_of(row, key, where, counts, {}) for key in keys], scores)

    return parse


def paired_columns(columns: PairedColumns) -> Bind:
    """Two answers under paired names: texts, conversations, or all turns as JSON in texts."""
    keys = (columns.first, columns.second)

    def bind(first: Row, names: Names) -> Parse:
        def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
            scores = scores_of(row, columns, where)
            if isinstance(first[keys[0]], list | dict):
                return of_pairs([conversation_of(row, key, where, counts, names) for key in keys], scores)
            if all(_turns(first.get(key)) for key in (names["prompt"], *keys)):
                return of_pairs([_turn_by_turn(row, names["prompt"], key, where) for key in keys], scores)
            return prompted(row, keys, scores, where, counts, names)

        return parse

    return bind


def _turns(value: Any) -> list[Any]:
    """The turns of one role, from a text that is a JSON list; [] for any other text."""
    if not isinstance(value, str) or not value.startswith(('["', "[null")):
        return []
    try:
        turns = json.loads(value)
    except (ValueError, RecursionError):
        return []
    return turns if isinstance(turns, list) else []


def _turn_by_turn(row: Row, prompt: str, key: str, where: str) -> tuple[str, str]:
    """A conversation from two texts, one with all questions, the other with all answers."""
    questions, answers = _turns(row[prompt]), _turns(row[key])
    if len(questions) != len(answers) or not questions:
        found = f"{len(answers)} turns for {len(questions)} questions"
        refuse("role_order", where, key, found, "a JSON list with one answer for each question")
    messages = []
    for question, answer in zip(questions, answers, strict=True):
        messages.append({"role": "user", "content": text_in(question, prompt, where)})
        messages.append({"role": "assistant", "content": text_in(answer, key, where)})
    return answered(messages_in(messages, key, where), where)


def summaries(first: Row, names: Names) -> Parse:
    """Two summaries of a post and which is better, as openai/summarize_from_feedback has it."""

    def parse(row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        entries, post = list_in(row, "summaries", where), row["info"]
        if len(entries) != 2 or not all(isinstance(entry, dict) and "text" in entry for entry in entries):
            refuse("not_text", where, "summaries", f"{len(entries)} entries", "two records with a text each")
        if not isinstance(post, dict):
            refuse("not_text", where, "info", type(post).__name__, "a record with a post or an article")
        parts = [post.get("title"), post.get("post") or post.get("article")]
        query = "\n\n".join(text_in(part, "info", where) for part in parts if part not in (None, ""))
        scores = verdict_in(row["choice"], "choice", ("0", "1"), where)
        responses = [text_in(entry["text"], "summaries", where) for entry in entries]
        return ParsedRow([query_in(query, "info", where, counts)], responses, scores, {})

    return parse
