"""Parses queries of the demo world from their text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from apo.core.errors import UserError
from apo.demo import templates
from apo.demo.knowledge import RELATIONS, without_article
from apo.demo.language import template_pattern
from apo.demo.requests import ACT_QUESTIONS, ADVICE, LOOKALIKES, MORE_QUESTIONS
from apo.demo.tasks import Task, act_task, compare_task, list_task, relation_task, sum_task

HUMAN, ASSISTANT = "\n\nHuman: ", "\n\nAssistant:"
FOLLOW_UPS = ("And what about {subject}?", "Now the same for {subject}, please.")
FOLLOW_SUMS = {"plus": "Now add {b} to that.", "minus": "Now take away {b} from that."}
_STANDING_HEAD = templates.STANDING.partition(" {")[0]
Slots = dict[str, str]


@dataclass(frozen=True)
class Query:
    """A query with the information to answer it.

    Args:
        text: The whole query in HH form; it ends with `\\n\\nAssistant:`.
        kind: `helpful` or `harmless`.
        task: The last question.
        instruction: A key of `templates.INSTRUCTIONS`, or empty.
    """

    text: str
    kind: str
    task: Task
    instruction: str


def _sum_parser(sign: str) -> Callable[[Slots], Task | None]:
    return lambda slots: sum_task(slots["a"], sign, slots["b"])


def _comparison(slots: Slots) -> Task | None:
    return compare_task(slots["word"], without_article(slots["x"]), without_article(slots["y"]))


def _relation_parser(family: str) -> Callable[[Slots], Task | None]:
    return lambda slots: relation_task(family, slots["subject"])


FORMS: tuple[tuple[str, Callable[[Slots], Task | None]], ...] = (
    *(
        (question, _relation_parser(name))
        for name, relation in RELATIONS.items()
        for question in relation.questions
    ),
    ("What is {a} {sign} {b}?", lambda s: sum_task(s["a"], s["sign"], s["b"])),
    ("How much is {a} {sign} {b}?", lambda s: sum_task(s["a"], s["sign"], s["b"])),
    ("{name} has {a} {things} and gets {b} more. How many {things} are there now?", _sum_parser("plus")),
    ("{name} has {a} {things} and loses {b}. How many {things} are left?", _sum_parser("minus")),
    ("Which is {word}, {x} or {y}?", _comparison),
    ("Which animal is {word}: {x} or {y}?", _comparison),
    ("List {number} {category}.", lambda s: list_task(s["number"], s["category"])),
    ("Name {number} {category}.", lambda s: list_task(s["number"], s["category"])),
    *((question, lambda s: act_task(s["act"])) for question in ACT_QUESTIONS),
)
"""Every question that needs no earlier turn, with the parser of its slots."""


def parse_question(text: str) -> Task | None:
    """The task of a question that needs no earlier turn; None for any other text."""
    for template, solve in FORMS:
        match = template_pattern(template).fullmatch(text)
        task = solve(match.groupdict()) if match else None
        if task:
            return task
    return None


def _parse_follow_up(text: str, earlier_task: Task, earlier_replies: str) -> Task | None:
    if earlier_task.family in RELATIONS and earlier_task.family != "unit":
        match = next(filter(None, (template_pattern(t).fullmatch(text) for t in FOLLOW_UPS)), None)
        return relation_task(earlier_task.family, match["subject"]) if match else None
    if earlier_task.family == "arithmetic":
        for sign, template in FOLLOW_SUMS.items():
            match = template_pattern(template).fullmatch(text)
            if match:
                return sum_task(earlier_task.right[0], sign, match["b"])
    if earlier_task.family == "advice" and text in MORE_QUESTIONS:
        act = next(a for a, tips in (ADVICE | LOOKALIKES).items() if earlier_task.right[0] in tips)
        return act_task(act, earlier_replies)
    return None


def _strip_opening(text: str) -> str:
    for template in templates.OPENINGS:
        match = template_pattern(template + " ").match(text)
        if match and _has_known_values(match.groupdict()):
            return text[match.end() :]
    return text


def _has_known_values(match: Slots) -> bool:
    return all(value in templates.SLOTS[slot] for slot, value in match.items())


def _split_instruction(text: str) -> tuple[str, str]:
    """The text without its instruction, and the key of the instruction or an empty text."""
    for key, endings in templates.INSTRUCTIONS.items():
        for template in endings:
            if text.endswith(template):
                return text.removesuffix(template).rstrip(), key
    return text, ""


def _turns(text: str) -> Iterator[tuple[str, str]]:
    """Each human turn with the assistant's reply, empty for the last; nothing for other texts."""
    if not (text.startswith(HUMAN) and text.endswith(ASSISTANT)):
        return
    for part in text.removeprefix(HUMAN).split(HUMAN):
        human, _, reply = part.partition(ASSISTANT)
        yield human, reply.strip()


@lru_cache(maxsize=1 << 15)
def parse_query(text: str) -> Query:
    """Parses a query: the task of its last human turn, which may refer to earlier turns.

    Raises:
        UserError: The text is not a query of the demo world.
    """
    task: Task | None = None
    instruction = standing_instruction = earlier_replies = ""
    for human, reply in _turns(text):
        rest, key = _split_instruction(human)
        instruction = key or standing_instruction
        if key and rest == _STANDING_HEAD:
            standing_instruction = instruction
        question = _strip_opening(rest)
        earlier_task, task = task, parse_question(question)
        if task is None and earlier_task is not None:
            task = _parse_follow_up(question, earlier_task, earlier_replies)
        earlier_replies = f"{earlier_replies} {reply}"
    if task is None:
        raise UserError(
            f"query {text[-80:]!r}",
            found="a text that the demo world can not parse",
            expected="a query of World.queries",
            do="score only the demo's own queries with the true reward",
        )
    return Query(text, task.kind, task, instruction)
