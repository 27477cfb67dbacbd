"""Responses of every quality: a style lists the qualities of a response, `write_response` writes it."""

import random
from dataclasses import dataclass

from apo.demo import templates
from apo.demo.knowledge import DAYS, MONTHS, RELATIONS
from apo.demo.language import capitalized
from apo.demo.parse_queries import Query
from apo.demo.requests import ALTERNATIVES, REASONS
from apo.demo.tasks import Task


@dataclass(frozen=True)
class Style:
    """The qualities of one response.

    Args:
        content: `right`, `wrong`, `several` (different answers at once), `unsure` or `refuse`; for a
            request to decline `right` declines and `wrong` complies.
        tone: `polite`, `plain` or `rude`.
        follows_instruction: Whether it follows the instruction of the query, and explains a refusal.
        flaw: `ramble`, `curt`, `repeat`, `cut` (in the middle of a sentence), or empty.
    """

    content: str
    tone: str
    follows_instruction: bool
    flaw: str


@dataclass(frozen=True)
class Author:
    """An author's distribution over styles: weights, and the probability to follow an instruction."""

    content: dict[str, int]
    tone: dict[str, int]
    follows_instruction: float
    flaw: dict[str, int]

    def style(self, rng: random.Random) -> Style:
        """A random style of the author."""
        return Style(
            _weighted_choice(rng, self.content),
            _weighted_choice(rng, self.tone),
            rng.random() < self.follows_instruction,
            _weighted_choice(rng, self.flaw),
        )


EXPERT = Author({"right": 1}, {"polite": 1}, 1.0, {"": 1})
MIXED = Author(
    {"right": 55, "wrong": 25, "several": 5, "unsure": 7, "refuse": 8},
    {"polite": 40, "plain": 35, "rude": 25},
    0.65,
    {"": 76, "ramble": 10, "curt": 5, "repeat": 4, "cut": 5},
)
"""The author of the responses in comparisons."""
UNALIGNED = Author(
    {"right": 50, "wrong": 30, "several": 4, "unsure": 8, "refuse": 8},
    {"polite": 25, "plain": 45, "rude": 30},
    0.5,
    {"": 66, "ramble": 14, "curt": 8, "repeat": 5, "cut": 7},
)
"""A chatbot before alignment."""


def _weighted_choice(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def write_response(query: Query, style: Style, rng: random.Random) -> str:
    """A response to the query in a style, with the leading space of the HH form."""
    instruction = query.instruction if style.follows_instruction else _other_form(query.instruction)
    sentence = _main_sentence(query.task, style, rng)
    if instruction == "one_word" and style.content in ("right", "wrong"):
        text = capitalized(answer_names(query.task, style.content, rng)) + "."
        return f" {text}" if style.tone != "rude" else f" {text} {rng.choice(templates.RUDE)}"
    if style.flaw == "curt" and not query.task.decline and style.content in ("right", "wrong"):
        sentence = capitalized(answer_names(query.task, style.content, rng)) + "."
    return " " + _apply_flaw(_apply_tone(sentence, instruction, style, rng), style.flaw, rng)


def _other_form(instruction: str) -> str:
    """The form of a response that does not follow the instruction."""
    return (
        "two_sentences" if instruction in ("one_sentence", "one_word") else "one_sentence" * bool(instruction)
    )


def answer_names(task: Task, content: str, rng: random.Random) -> str:
    """Right or wrong answers, as many as the task asks for, joined for a sentence."""
    if content == "right":
        max_count = min(task.count[1], 2, len(task.right)) if task.family == "advice" else task.count[0]
        names = rng.sample(task.right, rng.randint(min(task.count[0], max_count), max_count))
    else:
        names = [rng.choice(task.plausible)]
        names += rng.sample(task.right, task.count[0] - 1)
        rng.shuffle(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _main_sentence(task: Task, style: Style, rng: random.Random) -> str:
    """The sentence that answers, declines or evades."""
    if style.content == "unsure":
        return rng.choice(templates.UNSURE)
    if style.content == "refuse" or (task.decline and style.content == "right"):
        return _refusal(style, explains=task.decline and style.follows_instruction, rng=rng)
    statement = rng.choice(task.statements)
    if style.content == "several" and task.right:
        right, wrong = answer_names(task, "right", rng), rng.choice(task.plausible)
        return capitalized(statement.format(answer=" or ".join(rng.sample([right, wrong], 2))))
    content = "wrong" if style.content == "several" else style.content
    return capitalized(statement.format(answer=answer_names(task, content, rng)))


def _refusal(style: Style, *, explains: bool, rng: random.Random) -> str:
    refusal = rng.choice(templates.REFUSALS)
    if explains:
        refusal += rng.choice(
            [f" because {rng.choice(REASONS)}", f", but you could {rng.choice(ALTERNATIVES)} instead"]
        )
    return f"{templates.APOLOGY} {refusal}." if style.tone == "polite" else f"{refusal}."


def _apply_tone(sentence: str, instruction: str, style: Style, rng: random.Random) -> str:
    """The sentence in the tone of the style and the form of the instruction."""
    declines = sentence.startswith((templates.APOLOGY, *templates.REFUSALS))
    rude, polite = style.tone == "rude", style.tone == "polite"
    closing = []
    if instruction == "two_sentences":
        choices = (
            templates.RUDE
            if rude
            else templates.CLOSINGS
            if polite and not declines
            else templates.PLAIN_SECOND
        )
        closing.append(rng.choice(choices))
    elif rude and (instruction == "one_sentence" or rng.random() < 0.4):
        sentence = f"{sentence[:-1]}, {rng.choice(templates.INSULTS)}."
    elif rude:
        closing.append(rng.choice(templates.RUDE))
    elif polite and not declines:
        if instruction == "one_sentence" or (instruction != "start" and rng.random() < 0.5):
            sentence = f"{rng.choice(templates.LEADS)} {_lowercased(sentence)}"
        else:
            closing.append(rng.choice(templates.CLOSINGS))
    if instruction == "start":
        sentence = f"Well, {_lowercased(sentence)}"
    if instruction == "end":
        closing.append("Goodbye.")
    return " ".join([sentence, *closing])


def _lowercased(sentence: str) -> str:
    """The sentence with a lower-case first letter, except for proper nouns and I."""
    first_word = sentence.split()[0].rstrip(".,")
    return (
        sentence if first_word == "I" or first_word in _PROPER_NOUNS else sentence[:1].lower() + sentence[1:]
    )


def _apply_flaw(text: str, flaw: str, rng: random.Random) -> str:
    if flaw == "ramble":
        return f"{text} {rng.choice(templates.DIGRESSIONS)}"
    if flaw == "repeat":
        return " ".join([text] * rng.randint(2, 3))
    if flaw == "cut":
        parts = text.split()
        return " ".join(parts[: max(1, len(parts) - rng.randint(1, 3))]).rstrip(".,!")
    return text


_PROPER_NOUNS = frozenset([*templates.NAMES, *DAYS, *MONTHS, *RELATIONS["capital"].table.values()])
