"""apo/demo/world.py: distinct queries, and texts that depend on seed, purpose and query alone."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest

from apo.core.errors import UserError
from apo.demo import World, true_reward
from apo.demo.world import _plain_answer
from tests.helpers.demo_world import COMPARISONS, QUERIES, WORLD, dialogue


def test_queries_are_distinct_and_exclude_texts() -> None:
    first = {query.text for query in WORLD.queries(8000, "first", set())}
    second = {query.text for query in WORLD.queries(1000, "second", first)}
    assert len(first) == 8000 and len(second) == 1000 and not first & second


def test_queries_refuses_more_than_the_world_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apo.demo.world.draw_query", lambda rng: QUERIES[0])
    with pytest.raises(UserError, match="only 1 new"):
        WORLD.queries(2, "test", set())


def test_documents_have_each_dialogue_and_right_answers() -> None:
    texts = list(WORLD.documents(QUERIES[:300], "test"))
    assert len(texts) == 600
    assert all(texts[2 * i].startswith(query.text + " ") for i, query in enumerate(QUERIES[:300]))
    dialogues = [true_reward(q.text, texts[2 * i][len(q.text) :]) for i, q in enumerate(QUERIES[:300])]
    assert 0.5 < sum(reward == 3.0 for reward in dialogues) / 300 < 0.9
    rng = WORLD._rng("plain")
    for text in {_plain_answer(rng) for _ in range(2000)}:
        question, answer = re.fullmatch(
            r"(.+?[.?](?: How many .+\?| What should I do\?)?) (.+)", text
        ).groups()  # type: ignore[union-attr]
        assert true_reward(dialogue(question), f" {answer}") == 2.0, text


def test_golden_has_a_fraction_of_flawed_answers() -> None:
    expert, some, more, every = (list(WORLD.golden(QUERIES[:400], part)) for part in (0.0, 0.3, 0.6, 1.0))
    rewards = [[true_reward(row["query"], row["golden"]) for row in rows] for rows in (expert, some, every)]
    assert set(rewards[0]) == {3.0}
    # A flawed answer may still be perfect, so a smaller fraction has a lower reward.
    assert 0.2 < sum(reward < 3.0 for reward in rewards[1]) / 400 < 0.3
    assert sum(rewards[2]) / 400 < 1.5
    # Other answers are the expert's, and a larger fraction includes the flawed ones of a smaller one.
    flawed = [{i for i, row in enumerate(rows) if row != expert[i]} for rows in (some, more, every)]
    assert flawed[0] < flawed[1] < flawed[2]
    assert all(some[i] == more[i] == every[i] for i in flawed[0])


def test_texts_of_a_query_do_not_depend_on_other_queries() -> None:
    assert list(WORLD.comparisons(QUERIES[50:60], 1.0, "test")) == COMPARISONS[50:60]
    assert list(WORLD.comparisons(QUERIES[50:60], 1.0, "other")) != COMPARISONS[50:60]
    assert World(8).queries(20, "test", set()) != QUERIES[:20]


def test_texts_are_the_same_in_any_process_without_heavy_imports() -> None:
    code = (
        "import sys, json, hashlib; from apo.demo import World; w = World(7);"
        "q = w.queries(200, 'test', set());"
        "rows = [*w.comparisons(q, 1.0, 'a'), *w.golden(q, 0.0)];"
        "rows += [*w.demonstrations(q, 'a'), *w.documents(q, 'a')];"
        "digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest();"
        "print(digest, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    rows = [
        *WORLD.comparisons(QUERIES[:200], 1.0, "a"),
        *WORLD.golden(QUERIES[:200], 0.0),
        *WORLD.demonstrations(QUERIES[:200], "a"),
        *WORLD.documents(QUERIES[:200], "a"),
    ]
    here = f"{hashlib.sha256(json.dumps(rows).encode()).hexdigest()} False False\n"
    for hash_seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        there = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert there.stdout == here
