"""Parses rows in the formats of public preference sets: indices, grades, votes, paired columns."""

from collections import Counter
from typing import Any

from apo.core.records import Row
from apo.datasets.context import conversation_of, parse_answer_columns, parse_answers
from apo.datasets.fields import (
    bad_value,
    is_list_of_texts,
    list_in,
    number_in,
    number_of_cell,
    query_in,
    scores_in,
    text_in,
    texts_in,
    texts_of_json,
)
from apo.datasets.messages import answered, messages_in
from apo.datasets.paired_columns import chosen_names_in, paired_columns_in, scores_of
from apo.datasets.parsed import Names, Parse, ParsedRow
from apo.datasets.unsupported_rows import ANSWER_KEYS, GRADE_KEYS, list_advice
from apo.datasets.verdicts import check_two_answers, verdict_in, verdict_of


def parse_indexed(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """Two responses and the index of the better one, as PKU-SafeRLHF has it."""
    answers = ("response_0", "response_1")
    check_two_answers(row, answers, where)
    scores = verdict_of(row, names["better"], answers, where)
    return parse_answer_columns(row, answers, scores, where, counts, names)


def parse_scored(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """Two responses, each with its score in a separate column."""
    answers = ("response_0", "response_1")
    check_two_answers(row, answers, where)
    scores = [number_in(row[key], key, where) for key in ("score_0", "score_1")]
    return parse_answer_columns(row, answers, scores, where, counts, names)


def parse_history(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """A post with two comments, label 1 where A is preferred, as the Stanford Human Preferences have it."""
    label = number_of_cell(row["labels"])
    meaning = {0.0: "B", 1.0: "A"}.get(label) if isinstance(label, int | float) else None
    scores = verdict_in(meaning or row["labels"], "labels", ("A", "B"), where)
    keys = ("human_ref_A", "human_ref_B")
    return parse_answer_columns(row, keys, scores, where, counts, {"prompt": "history"})


def parse_listed(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """A prompt with a list of responses and a list of their scores."""
    responses = texts_in(row, "responses", where)
    scores = scores_in(row, "scores", len(responses), where)
    return parse_answers(row, responses, scores, where, counts, names)


def parse_rated(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """A prompt with a list of responses and one of their rewards or ratings, or of ranks, 1 the best."""
    responses, key = texts_in(row, "responses", where), names["rewards"]
    grades = scores_in(row, key, len(responses), where)
    scores = [-grade for grade in grades] if key == "ranks" else grades
    return parse_answers(row, responses, scores, where, counts, names)


def parse_answer_list(key: str, row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """A prompt with a list of answers, each with its rank or score, as Nectar and UltraFeedback have it."""
    entries = list_in(row, key, where)
    if is_list_of_texts(entries) and len(entries) > 1:
        found = f"a list of {len(entries)} texts, without scores in it,"
        expected = "records with a text and a score or rank each"
        raise bad_value("not_text", where, key, found, expected, list_advice(row, key))
    graded = [graded_answer(entry, key, where) for entry in entries]
    texts, scores = [text for text, _ in graded], [score for _, score in graded]
    return parse_answers(row, texts, scores, where, counts, names)


def graded_answer(value: Any, key: str, where: str) -> tuple[str, float]:
    """The text and the score of an entry of a list of answers; a rank is a score with its sign changed.

    Raises:
        RowError: It has no text or no grade, or several.
    """
    texts = [name for name in ANSWER_KEYS if isinstance(value, dict) and value.get(name) is not None]
    grades = [name for name in GRADE_KEYS if isinstance(value, dict) and value.get(name) is not None]
    if len(texts) != 1 or len(grades) != 1:
        found = f"an entry with {texts or 'no text'} and {grades or 'no score'}"
        expected = f"one of {', '.join(ANSWER_KEYS)} and one of {', '.join(GRADE_KEYS)}"
        raise bad_value("not_text" if len(texts) != 1 else "bad_score", where, key, found, expected)
    return text_in(value[texts[0]], key, where), GRADE_KEYS[grades[0]] * number_in(
        value[grades[0]], key, where
    )


def parse_arena(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """Two conversations and the winner, as Chatbot Arena has it."""
    keys = ("conversation_a", "conversation_b")
    check_two_answers(row, keys, where)
    scores = verdict_of(row, "winner", keys, where)
    return ParsedRow.from_pairs([conversation_of(row, key, where, counts, names) for key in keys], scores)


def choose_paired_columns_parser(first: Row, names: Names) -> Parse:
    """Two answers under paired names: texts, conversations, or all turns as JSON in texts."""
    (columns,) = chosen_names_in(first) or paired_columns_in(first)
    keys, prompt = (columns.first, columns.second), names.get("prompt", "")
    is_conversation = isinstance(first[keys[0]], list | dict) or not prompt
    is_turns = all(texts_of_json(first.get(key)) for key in (prompt, *keys))

    def parse(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
        scores = scores_of(row, columns, where)
        if is_conversation:
            pairs = [conversation_of(row, key, where, counts, names) for key in keys]
        elif is_turns:
            pairs = [_turn_by_turn(row, prompt, key, where) for key in keys]
        else:
            return parse_answer_columns(row, keys, scores, where, counts, names)
        return ParsedRow.from_pairs(pairs, scores)

    return parse


def _turn_by_turn(row: Row, prompt: str, key: str, where: str) -> tuple[str, str]:
    """A conversation from two texts, one with all questions, the other with all answers."""
    questions, answers = texts_of_json(row[prompt]), texts_of_json(row[key])
    if len(questions) != len(answers) or not questions:
        found = f"{len(answers)} turns for {len(questions)} questions"
        raise bad_value("role_order", where, key, found, "a JSON list with one answer for each question")
    messages = []
    for question, answer in zip(questions, answers, strict=True):
        messages.append({"role": "user", "content": text_in(question, prompt, where)})
        messages.append({"role": "assistant", "content": text_in(answer, key, where)})
    return answered(messages_in(messages, key, where), where)


def parse_summaries(row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
    """Two summaries of a post and which is better, as openai/summarize_from_feedback has it."""
    entries, post = list_in(row, "summaries", where), row["info"]
    if len(entries) != 2 or not all(isinstance(entry, dict) and "text" in entry for entry in entries):
        raise bad_value(
            "not_text", where, "summaries", f"{len(entries)} entries", "two records with a text each"
        )
    if not isinstance(post, dict):
        raise bad_value("not_text", where, "info", type(post).__name__, "a record with a post or an article")
    parts = [post.get("title"), post.get("post") or post.get("article")]
    query = "\n\n".join(text_in(part, "info", where) for part in parts if part not in (None, ""))
    scores = verdict_in(row["choice"], "choice", ("0", "1"), where)
    responses = [text_in(entry["text"], "summaries", where) for entry in entries]
    return ParsedRow([query_in(query, "info", where, counts)], responses, scores, {})
