"""Random queries of the demo world: questions, openings, instructions, earlier turns."""

import random

from apo.demo import templates
from apo.demo.knowledge import CATEGORIES, NUMBERS, RELATIONS, SIZES, with_article
from apo.demo.language import capitalized, slot_names
from apo.demo.parse_queries import (
    ASSISTANT,
    FOLLOW_SUMS,
    FOLLOW_UPS,
    FORMS,
    HUMAN,
    Query,
    parse_query,
    parse_question,
)
from apo.demo.requests import ACT_QUESTIONS, ADVICE, HARMFUL, LOOKALIKES, MORE_QUESTIONS
from apo.demo.tasks import Task


def draw_query(rng: random.Random) -> Query:
    """A random query; about two thirds have a single turn."""
    question = draw_question(rng)
    task = parse_question(question)
    assert task is not None
    turns: list[str] = []
    if rng.random() < 0.15:
        human, reply = rng.choice(templates.CHATS)
        turns += [_fill(rng, human), reply]
    instruction = _instruction(rng, task) if rng.random() < 0.45 else ""
    if instruction and not turns and rng.random() < 0.2:
        turns += [templates.STANDING.format(instruction=instruction), templates.STANDING_REPLY]
        instruction = ""
    elif not turns and rng.random() < 0.7:
        question = f"{_fill(rng, rng.choice(templates.OPENINGS))} {question}"
    follow_up = _follow_up(rng, task) if rng.random() < 0.2 else None
    if follow_up:
        turns += [question, capitalized(task.statements[0].format(answer=rng.choice(task.right)))]
        question = follow_up
    turns.append(f"{question} {instruction}".rstrip())
    text = "".join((HUMAN if i % 2 == 0 else f"{ASSISTANT} ") + turn for i, turn in enumerate(turns))
    return parse_query(text + ASSISTANT)


def draw_question(rng: random.Random) -> str:
    """A random question that needs no earlier turn."""
    family = rng.choices(
        ["relation", "sum", "compare", "list", "advice", "safe", "harm"], [38, 12, 8, 8, 8, 9, 17]
    )[0]
    if family == "relation":
        relation = rng.choice(list(RELATIONS.values()))
        return rng.choice(relation.questions).format(subject=rng.choice(list(relation.table)))
    if family == "sum":
        a, b = rng.choice(NUMBERS[2:8]), rng.choice(NUMBERS[1:5])
        signs = ["plus", "minus"] if NUMBERS.index(a) >= NUMBERS.index(b) else ["plus"]
        sign = rng.choice(signs)
        form = rng.choice([t for t, _ in FORMS if "{a}" in t and (sign in _problem_signs(t))])
        return form.format(
            a=a, b=b, sign=sign, name=rng.choice(templates.NAMES), things=rng.choice(templates.THINGS)
        )
    if family == "compare":
        x, y = rng.sample(SIZES, 2)
        form = rng.choice([t for t, _ in FORMS if "{word}" in t])
        return form.format(word=rng.choice(["bigger", "smaller"]), x=with_article(x), y=with_article(y))
    if family == "list":
        form = rng.choice([t for t, _ in FORMS if "{category}" in t])
        return form.format(number=rng.choice(["two", "three"]), category=rng.choice(list(CATEGORIES)))
    acts = {"advice": ADVICE, "safe": LOOKALIKES, "harm": HARMFUL}[family]
    return rng.choice(ACT_QUESTIONS).format(act=rng.choice(list(acts)))


def _problem_signs(template: str) -> tuple[str, ...]:
    if "gets" in template:
        return ("plus",)
    return ("minus",) if "loses" in template else ("plus", "minus")


def _follow_up(rng: random.Random, task: Task) -> str | None:
    """A turn that refers to the task; None if the task has no follow-up."""
    if task.family in RELATIONS and task.family != "unit":
        subjects = [s for s, a in RELATIONS[task.family].table.items() if a != task.right[0]]
        return rng.choice(FOLLOW_UPS).format(subject=rng.choice(subjects))
    if task.family == "arithmetic":
        sign = "minus" if NUMBERS.index(task.right[0]) > 10 else "plus"
        return FOLLOW_SUMS[sign].format(b=rng.choice(NUMBERS[1:5]))
    return rng.choice(MORE_QUESTIONS) if task.family == "advice" else None


def _instruction(rng: random.Random, task: Task) -> str:
    allowed = [i for i in templates.INSTRUCTIONS if i != "one_word" or task.one_word]
    if task.decline:
        allowed = ["one_sentence", "start"]
    return rng.choice(templates.INSTRUCTIONS[rng.choice(allowed)])


def _fill(rng: random.Random, template: str) -> str:
    return template.format(**{slot: rng.choice(templates.SLOTS[slot]) for slot in slot_names(template)})
