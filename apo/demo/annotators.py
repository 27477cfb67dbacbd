"""Responses of every quality: a style says what is good or bad about one, `write` makes it."""

import random
from dataclasses import dataclass

from apo.demo import templates
from apo.demo.knowledge import DAYS, MONTHS, RELATIONS
from apo.demo.language import capitalised
from apo.demo.parse_queries import Query
from apo.demo.requests import ALTERNATIVES, REASONS
from apo.demo.tasks import Task


@dataclass(frozen=True)
class Style:
    """What one response is like.

    Args:
        content: `right`, `wrong`, `several` (different answers at once), `unsure` or `refuse`; for a
            request to decline `right` declines and `wrong` complies.
        tone: `polite`, `plain` or `rude`.
        obeys: Whether it follows the instruction of the query, and explains a refusal.
        slip: `ramble`, `curt`, `repeat`, `cut` (in the middle of a sentence), or empty.
    """

    content: str
    tone: str
    obeys: bool
    slip: str


@dataclass(frozen=True)
class Author:
    """How often (weights) an author shows each quality."""

    content: dict[str, int]
    tone: dict[str, int]
    obeys: float
    slip: dict[str, int]

    def style(self, rng: random.Random) -> Style:
        """A style drawn with the author's weights."""
        return Style(
            _draw(rng, self.content), _draw(rng, self.tone), rng.random() < self.obeys, _draw(rng, self.slip)
        )


EXPERT = Author({"right": 1}, {"polite": 1}, 1.0, {"": 1})
ANNOTATED = Author(
    {"right": 55, "wrong": 25, "several": 5, "unsure": 7, "refuse": 8},
    {"polite": 40, "plain": 35, "rude": 25},
    0.65,
    {"": 76, "ramble": 10, "curt": 5, "repeat": 4, "cut": 5},
)
"""Who wrote the responses of the comparisons."""
UNALIGNED = Author(
    {"right": 50, "wrong": 30, "several": 4, "unsure": 8, "refuse": 8},
    {"polite": 25, "plain": 45, "rude": 30},
    0.5,
    {"": 66, "ramble": 14, "curt": 8, "repeat": 5, "cut": 7},
)
"""A chatbot before alignment."""


def _draw(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def write(query: Query, style: Style, rng: random.Random) -> str:
    """A response to the query in the style, with the leading space of the HH form."""
    instruction = query.instruction if style.obeys else _another(query.instruction)
    core = _core(query.task, style, rng)
    if instruction == "one_word" and style.content in ("right", "wrong"):
        text = capitalised(answers(query.task, style.content, rng)) + "."
        return f" {text}" if style.tone != "rude" else f" {text} {rng.choice(templates.RUDE)}"
    if style.slip == "curt" and not query.task.decline and style.content in ("right", "wrong"):
        core = capitalised(answers(query.task, style.content, rng)) + "."
    return " " + _slip(_toned(core, instruction, style, rng), style.slip, rng)


def _another(instruction: str) -> str:
    """What a response follows that does not follow the instruction."""
    return (
        "two_sentences" if instruction in ("one_sentence", "one_word") else "one_sentence" * bool(instruction)
    )


def answers(task: Task, content: str, rng: random.Random) -> str:
    """Names of right or wrong answers, as many as asked for, as they stand in a sentence."""
    if content == "right":
        most = min(task.count[1], 2, len(task.right)) if task.family == "advice" else task.count[0]
        names = rng.sample(task.right, rng.randint(min(task.count[0], most), most))
    else:
        names = [rng.choice(task.plausible)]
        names += rng.sample(task.right, task.count[0] - 1)
        rng.shuffle(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _core(task: Task, style: Style, rng: random.Random) -> str:
    """The sentence that answers, declines or evades."""
    if style.content == "unsure":
        return rng.choice(templates.UNSURE)
    if style.content == "refuse" or (task.decline and style.content == "right"):
        return _refusal(style, explains=task.decline and style.obeys, rng=rng)
    statement = rng.choice(task.statements)
    if style.content == "several" and task.right:
        right, wrong = answers(task, "right", rng), rng.choice(task.plausible)
        return capitalised(statement.format(answer=" or ".join(rng.sample([right, wrong], 2))))
    content = "wrong" if style.content == "several" else style.content
    return capitalised(statement.format(answer=answers(task, content, rng)))


def _refusal(style: Style, *, explains: bool, rng: random.Random) -> str:
    refusal = rng.choice(templates.REFUSALS)
    if explains:
        refusal += rng.choice(
            [f" because {rng.choice(REASONS)}", f", but you could {rng.choice(ALTERNATIVES)} instead"]
        )
    return f"{templates.APOLOGY} {refusal}." if style.tone == "polite" else f"{refusal}."


def _toned(core: str, instruction: str, style: Style, rng: random.Random) -> str:
    """The core in the tone of the style, in the form that the instruction asks for."""
    declines = core.startswith((templates.APOLOGY, *templates.REFUSALS))
    rude, polite = style.tone == "rude", style.tone == "polite"
    after = []
    if instruction == "two_sentences":
        choices = (
            templates.RUDE
            if rude
            else templates.CLOSINGS
            if polite and not declines
            else templates.PLAIN_SECOND
        )
        after.append(rng.choice(choices))
    elif rude and (instruction == "one_sentence" or rng.random() < 0.4):
        core = f"{core[:-1]}, {rng.choice(templates.INSULTS)}."
    elif rude:
        after.append(rng.choice(templates.RUDE))
    elif polite and not declines:
        if instruction == "one_sentence" or (instruction != "start" and rng.random() < 0.5):
            core = f"{rng.choice(templates.LEADS)} {_lowered(core)}"
        else:
            after.append(rng.choice(templates.CLOSINGS))
    if instruction == "start":
        core = f"Well, {_lowered(core)}"
    if instruction == "end":
        after.append("Goodbye.")
    return " ".join([core, *after])


def _lowered(sentence: str) -> str:
    """The sentence with a small first letter where the word is an ordinary one."""
    first = sentence.split()[0].rstrip(".,")
    return sentence if first == "I" or first in _PROPER else sentence[:1].lower() + sentence[1:]


def _slip(text: str, slip: str, rng: random.Random) -> str:
    if slip == "ramble":
        return f"{text} {rng.choice(templates.DIGRESSIONS)}"
    if slip == "repeat":
        return " ".join([text] * rng.randint(2, 3))
    if slip == "cut":
        parts = text.split()
        return " ".join(parts[: max(1, len(parts) - rng.randint(1, 3))]).rstrip(".,!")
    return text


_PROPER = frozenset([*templates.NAMES, *DAYS, *MONTHS, *RELATIONS["capital"].table.values()])
