"""Reading a query of the demo world back from its text alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from apo.core.errors import UserError
from apo.demo import templates
from apo.demo.knowledge import RELATIONS, bare
from apo.demo.language import pattern
from apo.demo.requests import ACT_QUESTIONS, ADVICE, LOOKALIKES, MORE_QUESTIONS
from apo.demo.tasks import Task, act_task, compare_task, list_task, relation_task, sum_task

HUMAN, ASSISTANT = "\n\nHuman: ", "\n\nAssistant:"
FOLLOW_UPS = ("And what about {subject}?", "Now the same for {subject}, please.")
FOLLOW_SUMS = {"plus": "Now add {b} to that.", "minus": "Now take away {b} from that."}
_STANDING_HEAD = templates.STANDING.partition(" {")[0]
Slots = dict[str, str]


@dataclass(frozen=True)
class Query:
    """A query with what is needed to answer it.

    Args:
        text: The whole query in HH form; it ends with `\\n\\nAssistant:`.
        kind: `helpful` or `harmless`.
        task: What is asked.
        instruction: A key of `templates.INSTRUCTIONS`, or empty.
    """

    text: str
    kind: str
    task: Task
    instruction: str


def _problem(sign: str) -> Callable[[Slots], Task | None]:
    return lambda s: sum_task(s["a"], sign, s["b"])


def _of(family: str) -> Callable[[Slots], Task | None]:
    return lambda s: relation_task(family, s["subject"])


FORMS: tuple[tuple[str, Callable[[Slots], Task | None]], ...] = (
    *((question, _of(name)) for name, relation in RELATIONS.items() for question in relation.questions),
    ("What is {a} {sign} {b}?", lambda s: sum_task(s["a"], s["sign"], s["b"])),
    ("How much is {a} {sign} {b}?", lambda s: sum_task(s["a"], s["sign"], s["b"])),
    ("{name} has {a} {things} and gets {b} more. How many {things} are there now?", _problem("plus")),
    ("{name} has {a} {things} and loses {b}. How many {things} are left?", _problem("minus")),
    ("Which is {word}, {x} or {y}?", lambda s: compare_task(s["word"], bare(s["x"]), bare(s["y"]))),
    ("Which animal is {word}: {x} or {y}?", lambda s: compare_task(s["word"], bare(s["x"]), bare(s["y"]))),
    ("List {number} {category}.", lambda s: list_task(s["number"], s["category"])),
    ("Name {number} {category}.", lambda s: list_task(s["number"], s["category"])),
    *((question, lambda s: act_task(s["act"])) for question in ACT_QUESTIONS),
)
"""Every question that stands on its own, with what reads its slots."""


def read_question(text: str) -> Task | None:
    """The task of a question that stands on its own; None where nobody in the world asks so."""
    for template, solve in FORMS:
        found = pattern(template).fullmatch(text)
        task = solve(found.groupdict()) if found else None
        if task:
            return task
    return None


def _read_follow_up(text: str, before: Task, said: str) -> Task | None:
    if before.family in RELATIONS and before.family != "unit":
        found = next(filter(None, (pattern(t).fullmatch(text) for t in FOLLOW_UPS)), None)
        return relation_task(before.family, found["subject"]) if found else None
    if before.family == "arithmetic":
        for sign, template in FOLLOW_SUMS.items():
            found = pattern(template).fullmatch(text)
            if found:
                return sum_task(before.right[0], sign, found["b"])
    if before.family == "advice" and text in MORE_QUESTIONS:
        act = next(a for a, tips in (ADVICE | LOOKALIKES).items() if before.right[0] in tips)
        return act_task(act, said)
    return None


def _strip_opening(text: str) -> str:
    for template in templates.OPENINGS:
        found = pattern(template + " ").match(text)
        if found and _known(found.groupdict()):
            return text[found.end() :]
    return text


def _known(found: Slots) -> bool:
    return all(value in templates.SLOTS[slot] for slot, value in found.items())


def _split_instruction(text: str) -> tuple[str, str]:
    """The text without its instruction, and the instruction's key."""
    for key, endings in templates.INSTRUCTIONS.items():
        for template in endings:
            if text.endswith(template):
                return text.removesuffix(template).rstrip(), key
    return text, ""


def _turns(text: str) -> Iterator[tuple[str, str]]:
    """Each human turn with the assistant's reply, empty for the last; nothing for no query."""
    if not (text.startswith(HUMAN) and text.endswith(ASSISTANT)):
        return
    for part in text.removeprefix(HUMAN).split(HUMAN):
        human, _, reply = part.partition(ASSISTANT)
        yield human, reply.strip()


@lru_cache(maxsize=1 << 15)
def read_query(text: str) -> Query:
    """The query that a text is; the last human turn decides, with the earlier ones where it needs them.

    Raises:
        UserError: The text is no query of this world.
    """
    task: Task | None = None
    asked = standing = said = ""
    for human, reply in _turns(text):
        rest, key = _split_instruction(human)
        asked = key or standing
        if key and rest == _STANDING_HEAD:
            standing = asked
        question = _strip_opening(rest)
        before, task = task, read_question(question)
        if task is None and before is not None:
            task = _read_follow_up(question, before, said)
        said = f"{said} {reply}"
    if task is None:
        raise UserError(
            f"query {text[-80:]!r}",
            found="a text that the demo world can not read",
            expected="a query that World.queries made",
            do="score only the demo's own queries with the true reward",
        )
    return Query(text, task.kind, task, asked)
