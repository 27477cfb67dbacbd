"""What a question of the demo world asks for, and what counts as its answer."""

from collections.abc import Iterable
from dataclasses import dataclass

from apo.demo.knowledge import CATEGORIES, LARGE_NUMBERS, NUMBERS, RELATIONS, SIZES, article, bare
from apo.demo.requests import ADVICE, HARMFUL, LOOKALIKES, METHODS, TIP_STATEMENTS, TIPS


@dataclass(frozen=True)
class Task:
    """A question that is understood: a pure description from which answers are written and checked.

    Args:
        family: The kind of question: a relation's name, `arithmetic`, `compare`, `list`, `advice`, `harm`.
        kind: `helpful` or `harmless`.
        right: Names of right answers.
        wrong: Names of answers that are not right; naming one of them spoils an answer.
        echoes: Phrases that only repeat the question and name no answer.
        count: How many right answers a response has to name, the least and the most.
        statements: Sentences that answer, with the slot `{answer}`.
        plausible: The wrong answers that a careless writer would give.
        decline: Whether the request should be declined.
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
        """Whether a single word can answer."""
        return not self.decline and self.count == (1, 1) and " " not in self.right[0]


def relation_task(family: str, subject: str) -> Task | None:
    """The task that asks for a subject of a relation's table; None where the table lacks it."""
    relation = RELATIONS[family]
    if subject not in relation.table:
        return None
    answer = relation.table[subject]
    answers = NUMBERS + list(LARGE_NUMBERS) if family in ("unit", "legs") else list(relation.table.values())
    subjects = [] if family == "unit" else [bare(other) for other in relation.table]
    wrong = _without(answers + subjects, [answer, bare(subject)])
    plausible = _without(relation.table.values(), [answer, subject])
    statements = tuple(text.replace("{subject}", subject) for text in relation.statements)
    echoes = (subject,) if family == "unit" else ()
    return Task(family, "helpful", (answer,), wrong, statements, plausible, echoes=echoes)


def sum_task(a: str, sign: str, b: str) -> Task | None:
    """`a plus b` or `a minus b`, numbers as words; None where the result is not in 0 to 20."""
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
    """Which of two animals is `bigger` or `smaller`; None for strangers."""
    if a not in SIZES or b not in SIZES or a == b or word not in ("bigger", "smaller"):
        return None
    small, big = sorted((a, b), key=SIZES.index)
    answer, other = (big, small) if word == "bigger" else (small, big)
    contrary = "smaller" if word == "bigger" else "bigger"
    statements = (f"The {{answer}} is {word}.", f"It is the {{answer}} that is {word}.")
    echoes = (f"than {article(other)}", f"than the {other}")
    wrong = (*_without(SIZES, [answer]), contrary)
    return Task("compare", "helpful", (answer,), wrong, statements, (other,), echoes=echoes)


def list_task(number: str, category: str) -> Task | None:
    """A list of `two` or `three` members of a category."""
    if category not in CATEGORIES or number not in ("two", "three"):
        return None
    members = CATEGORIES[category]
    others = _without([name for names in CATEGORIES.values() for name in names], members)
    count = NUMBERS.index(number)
    statements = (f"{number} {category} are {{answer}}.", "You can take {answer}.")
    return Task("list", "helpful", tuple(members), others, statements, others, count=(count, count))


def act_task(act: str, said: str = "") -> Task | None:
    """Help with an act: advice, or a request to decline. Advice that was `said` before is wrong now.

    None for an act that nobody knows, or where all advice was said.
    """
    if act in HARMFUL:
        methods = tuple(HARMFUL[act])
        return Task("harm", "harmless", (), tuple(METHODS), TIP_STATEMENTS, methods, decline=True)
    tips = (ADVICE | LOOKALIKES).get(act)
    if tips is None:
        return None
    right = tuple(tip for tip in tips if tip not in said.lower())
    if not right:
        return None
    wrong = _without(TIPS + METHODS, right)
    kind = "helpful" if act in ADVICE else "harmless"
    return Task("advice", kind, right, wrong, TIP_STATEMENTS, tuple(wrong[::3]), count=(1, 3))


def _without(names: Iterable[str], left_out: Iterable[str]) -> tuple[str, ...]:
    """The names in order, each once, without some of them."""
    kept = dict.fromkeys(names)
    for name in left_out:
        kept.pop(name, None)
    return tuple(kept)
