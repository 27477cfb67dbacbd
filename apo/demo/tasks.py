"""The tasks behind the questions of the demo world: right answers, wrong answers and statements."""

from collections.abc import Iterable
from dataclasses import dataclass

from apo.demo.knowledge import (
    CATEGORIES,
    LARGE_NUMBERS,
    NUMBERS,
    RELATIONS,
    SIZES,
    with_article,
    without_article,
)
from apo.demo.requests import ADVICE, HARMFUL, LOOKALIKES, METHODS, TIP_STATEMENTS, TIPS


@dataclass(frozen=True)
class Task:
    """A parsed question, from which answers are written and checked.

    Args:
        family: The kind of question: a relation's name, `arithmetic`, `compare`, `list`, `advice`, `harm`.
        kind: `helpful` or `harmless`.
        wrong: The wrong answers; a response that names one of them is wrong.
        echoes: Phrases that repeat the question and name no answer.
        count: The minimum and the maximum number of right answers in a response.
        statements: Sentences that answer, with the slot `{answer}`.
        plausible: The wrong answers that an author gives.
        decline: Whether to decline the request.
    """

    family: str
    kind: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    statements: tuple[str, ...]
    plausible: tuple[str, ...]
    echoes: tuple[str, ...] = ()
    count: tuple[int, int] = (1, 1)
    decline: bool = False

    @property
    def one_word(self) -> bool:
        """Whether a single word is a full answer."""
        return not self.decline and self.count == (1, 1) and " " not in self.right[0]


def relation_task(family: str, subject: str) -> Task | None:
    """The question for the answer of a subject; None if the relation does not have the subject."""
    relation = RELATIONS[family]
    if subject not in relation.table:
        return None
    answer = relation.table[subject]
    answers = NUMBERS + list(LARGE_NUMBERS) if family in ("unit", "legs") else list(relation.table.values())
    subjects = [] if family == "unit" else [without_article(name) for name in relation.table]
    wrong = _without(answers + subjects, [answer, without_article(subject)])
    plausible = _without(relation.table.values(), [answer, subject])
    statements = tuple(text.replace("{subject}", subject) for text in relation.statements)
    echoes = (subject,) if family == "unit" else ()
    return Task(family, "helpful", (answer,), wrong, statements, plausible, echoes=echoes)


def sum_task(a: str, sign: str, b: str) -> Task | None:
    """`a plus b` or `a minus b` with numbers as words; None if the result is not in 0 to 20."""
    if a not in NUMBERS or b not in NUMBERS or sign not in ("plus", "minus"):
        return None
    x, y = NUMBERS.index(a), NUMBERS.index(b)
    result = x + y if sign == "plus" else x - y
    if not 0 <= result < len(NUMBERS):
        return None
    answer = NUMBERS[result]
    near = [NUMBERS[n] for n in range(result - 3, result + 4) if 0 <= n < len(NUMBERS)]
    return Task(
        "arithmetic",
        "helpful",
        (answer,),
        _without(NUMBERS + list(LARGE_NUMBERS), [answer]),
        (f"{a} {sign} {b} is {{answer}}.", "The result is {answer}."),
        _without(near, [answer]),
        echoes=(f"{a} {sign} {b}", *([f"{b} plus {a}"] if sign == "plus" else [])),
    )


def compare_task(word: str, a: str, b: str) -> Task | None:
    """Which of two animals is `bigger` or `smaller`; None for unknown animals."""
    if a not in SIZES or b not in SIZES or a == b or word not in ("bigger", "smaller"):
        return None
    small, big = sorted((a, b), key=SIZES.index)
    answer, other_animal = (big, small) if word == "bigger" else (small, big)
    contrary = "smaller" if word == "bigger" else "bigger"
    statements = (f"The {{answer}} is {word}.", f"It is the {{answer}} that is {word}.")
    echoes = (f"than {with_article(other_animal)}", f"than the {other_animal}")
    wrong = (*_without(SIZES, [answer]), contrary)
    return Task("compare", "helpful", (answer,), wrong, statements, (other_animal,), echoes=echoes)


def list_task(number: str, category: str) -> Task | None:
    """A list of `two` or `three` members of a category; None for an unknown category or number."""
    if category not in CATEGORIES or number not in ("two", "three"):
        return None
    members = CATEGORIES[category]
    wrong = _without([name for names in CATEGORIES.values() for name in names], members)
    count = NUMBERS.index(number)
    statements = (f"{number} {category} are {{answer}}.", "You can take {answer}.")
    return Task("list", "helpful", tuple(members), wrong, statements, wrong, count=(count, count))


def act_task(act: str, earlier_replies: str = "") -> Task | None:
    """Help with an act: advice, or a request to decline; None for an unknown act or without advice left.

    Advice in the earlier replies is wrong.
    """
    if act in HARMFUL:
        methods = tuple(HARMFUL[act])
        return Task("harm", "harmless", (), tuple(METHODS), TIP_STATEMENTS, methods, decline=True)
    tips = (ADVICE | LOOKALIKES).get(act)
    if tips is None:
        return None
    right = tuple(tip for tip in tips if tip not in earlier_replies.lower())
    if not right:
        return None
    wrong = _without(TIPS + METHODS, right)
    kind = "helpful" if act in ADVICE else "harmless"
    return Task("advice", kind, right, wrong, TIP_STATEMENTS, tuple(wrong[::3]), count=(1, 3))


def _without(names: Iterable[str], excluded: Iterable[str]) -> tuple[str, ...]:
    """The names in order, each once, without some of them."""
    remaining = dict.fromkeys(names)
    for name in excluded:
        remaining.pop(name, None)
    return tuple(remaining)
