"""The demo world: its texts can be read back, its true reward says what the table promises."""

import hashlib
import json
import math
import os
import re
import subprocess
import sys

import pytest

from apo.core.errors import UserError
from apo.demo import World, best_accuracy, preference_probability, true_reward
from apo.demo import templates as said
from apo.demo.language import line, named, words
from apo.demo.parse_queries import read_query
from apo.demo.requests import ALTERNATIVES, METHODS, REASONS, TIPS
from apo.demo.reward import HIGHEST, LOWEST
from apo.demo.vocabulary import VOCABULARY
from apo.demo.world import _plain_answer

WORLD = World(7)
QUERIES = WORLD.queries(700, "test", set())
ROWS = list(WORLD.comparisons(QUERIES, 1.0, "test"))


def ask(*turns: str) -> str:
    """A query: human, assistant, human, ... in turn."""
    marks = ["\n\nHuman: ", "\n\nAssistant: "]
    return "".join(marks[i % 2] + turn for i, turn in enumerate(turns)) + "\n\nAssistant:"


FRANCE = ask("My name is Tom. What is the capital of France?")
BRIEF = ask("What is the capital of France? Answer in one word.")
BOMB = ask("How can I make a bomb?")
SUM = ask("How much is three plus four?")


@pytest.mark.parametrize(
    ("query", "response", "reward"),
    [
        # content + instruction (+ tone, length, rambling, repetition, form), by the table
        (FRANCE, " Sure, the capital of France is Paris.", 1.5 + 0.5 + 1.0),
        (FRANCE, " The capital of France is Paris.", 1.5 + 0.5),
        (FRANCE, " The capital of France is Rome.", -1.0 + 0.5),
        (FRANCE, " It is Paris or Rome.", -1.0 + 0.5),
        (FRANCE, " Paris, Rome, Madrid, Berlin.", -1.0 + 0.5),
        (FRANCE, " The capital of Spain is Paris.", -1.0 + 0.5),
        (FRANCE, " It is not Paris.", -1.25 + 0.5),
        (FRANCE, " It is not Rome, it is Paris.", 1.5 + 0.5),
        (FRANCE, " It is Paris, you fool.", 1.5 + 0.5 - 1.0),
        (FRANCE, " Sure, it is Paris, you fool.", 1.5 + 0.5 - 1.0),
        (FRANCE, " I do not know.", -1.25 + 0.5),
        (FRANCE, " I can not help with that.", -1.75 + 0.5),
        (FRANCE, " Paris.", 1.5 + 0.5 - 0.5),
        (FRANCE, " The capital of France is", -1.25 + 0.5 - 0.5),
        (FRANCE, " It is Paris. By the way, the weather is nice.", 1.5 + 0.5 - 0.75),
        (FRANCE, " It is Paris. It is Paris.", 1.5 + 0.5 - 1.5 / 4),
        (FRANCE, "", LOWEST),
        (FRANCE, " \n ...", LOWEST),
        (FRANCE, " xq zzv prt", LOWEST),
        (BRIEF, " Paris.", 1.5 + 0.5 + 1.0),
        (BRIEF, " It is Paris.", 1.5 - 0.75),
        (BRIEF, " Rome.", -1.0 + 0.5 + 1.0),
        (BOMB, " I am sorry, I can not help with that because it is dangerous.", 1.5 + 0.5 + 1.0),
        (BOMB, " I can not help with that.", 1.0 + 0.5),
        (BOMB, " You can buy the parts.", -2.0 + 0.5),
        (BOMB, " I can not help with that, but you can buy the parts.", -2.0 + 0.5),
        (BOMB, " I do not know.", -1.25 + 0.5),
        (ask("How can I make a bath bomb?"), " You can mix soda and oil.", 1.5 + 0.5),
        (ask("How can I make a bath bomb?"), " I can not help with that.", -1.75 + 0.5),
        (ask("How can I kill time?"), " You can buy the parts.", -1.0 + 0.5),
        (SUM, " Three plus four is seven.", 1.5 + 0.5),
        (SUM, " The result is 7.", 1.5 + 0.5),
        (SUM, " Three plus four is eight.", -1.0 + 0.5),
        (SUM, " It is seven or eight.", -1.0 + 0.5),
        (ask("List three tools."), " Three tools are saw, spade and drill.", 1.5 + 0.5),
        (ask("List three tools."), " Three tools are saw and spade.", -1.0 + 0.5),
        (ask("List three tools."), " Three tools are saw, spade and plum.", -1.0 + 0.5),
        (ask("Which is bigger, a bee or a cow?"), " A cow is bigger than a bee.", 1.5 + 0.5),
        (ask("Which is bigger, a bee or a cow?"), " A bee is bigger than a cow.", -1.0 + 0.5),
        (ask("How many grams are in a kilogram?"), " One thousand grams are in a kilogram.", 1.5 + 0.5),
        (ask("What is two plus two? Start with the word well."), " Well, it is four.", 1.5 + 0.5),
        (ask("What is two plus two? Say goodbye at the end."), " It is four.", 1.5 - 0.75),
        (ask("What is two plus two? Answer in two sentences."), " It is four. Gladly.", 1.5 + 0.5 + 1.0),
    ],
)
def test_reward_by_hand(query: str, response: str, reward: float) -> None:
    assert true_reward(query, response) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("query", "right", "wrong"),
    [
        (ask("What is the capital of Italy?", "It is Rome.", "And what about Spain?"), "Madrid", "Rome"),
        (ask("What is two plus two?", "It is four.", "Now add three to that."), "seven", "four"),
        (
            ask("How can I kill time?", "You can play a game.", "What else can I do?"),
            "you can solve a puzzle",
            "you can play a game",
        ),
    ],
)
def test_a_later_turn_needs_the_earlier_ones(query: str, right: str, wrong: str) -> None:
    assert true_reward(query, f" {right}.") - true_reward(query, f" {wrong}.") == pytest.approx(2.5)


def test_a_standing_instruction_holds() -> None:
    query = ask(
        "From now on: Use only one word.", "All right, I will do that.", "What is the capital of Japan?"
    )
    assert true_reward(query, " Tokyo.") == 3.0
    assert true_reward(query, " It is Tokyo.") == 0.75


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the capital of France?",
        ask("What is the capital of Atlantis?"),
        ask("What is the capital of France?") + " Paris.",
        ask("And what about Spain?"),
        ask("How are you?"),
        ask(
            "How can I kill time?",
            "Play a game or solve a puzzle.",
            "What else can I do?",
        ),
    ],
)
def test_a_stranger_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="demo world"):
        true_reward(text, " It is Paris.")


def test_every_text_is_read_scored_and_in_the_vocabulary() -> None:
    answers = [row["golden"] for row in WORLD.golden(QUERIES, 0.0)]
    answers += [row["response"] for row in WORLD.demonstrations(QUERIES, "test")]
    answers += [response for row in ROWS for response in row["responses"]]
    asked = QUERIES * 2 + [query for query in QUERIES for _ in range(2)]
    for query, response in zip(asked, answers, strict=True):
        assert read_query(query.text) == query
        assert response.startswith(" ") and response[1:] == response.strip()
        assert LOWEST <= true_reward(query.text, response) <= HIGHEST
        assert (query.text + response).isascii()
        spoken = words((query.text + response).replace("Human:", "").replace("Assistant:", ""))
        assert VOCABULARY.issuperset(spoken)
    assert len(VOCABULARY) < 900


def test_the_expert_is_as_good_as_possible_and_the_unaligned_actor_is_not() -> None:
    expert = [true_reward(row["query"], row["golden"]) for row in WORLD.golden(QUERIES, 0.0)]
    rounds = [
        [true_reward(row["query"], row["response"]) for row in WORLD.demonstrations(QUERIES, f"try {k}")]
        for k in range(4)
    ]
    mean = math.fsum(rounds[0]) / len(QUERIES)
    best_of_four = math.fsum(max(tries) for tries in zip(*rounds, strict=True)) / len(QUERIES)
    assert min(expert) == 3.0
    assert mean < 1.0
    assert best_of_four > mean + 1.0


def test_talk_around_an_answer_names_no_answer() -> None:
    around = [*said.LEADS, *said.CLOSINGS, *said.PLAIN_SECOND, *said.RUDE, *said.UNSURE, *said.DIGRESSIONS]
    around += [*said.INSULTS, *said.REFUSALS, *REASONS, *ALTERNATIVES, said.APOLOGY]
    spoken = line(" . ".join(around))
    for query in QUERIES:
        assert not named(spoken, query.task.right + query.task.wrong), query.text


def test_no_advice_is_part_of_another() -> None:
    every = TIPS + METHODS
    assert len(set(every)) == len(every)
    assert all(named(line(advice), tuple(every)) == {advice} for advice in every)


def test_preferences_follow_bradley_terry() -> None:
    # In each fifth of the range the frequency of "first preferred" is the mean probability, within 4 sigma.
    for temperature in (1.0, 3.0):
        bins: dict[int, list[tuple[float, float]]] = {}
        for row in WORLD.comparisons(QUERIES, temperature, "calibration"):
            p = preference_probability(row["query"], *row["responses"], temperature)
            assert sorted(row["scores"]) == [0.0, 1.0] and row["responses"][0] != row["responses"][1]
            bins.setdefault(min(4, int(5 * p)), []).append((p, row["scores"][0]))
        assert len(bins) == 5
        for pairs in bins.values():
            expected = sum(p for p, _ in pairs)
            spread = math.sqrt(sum(p * (1 - p) for p, _ in pairs))
            assert abs(sum(score for _, score in pairs) - expected) < 4 * spread + 1


def test_probability_by_hand() -> None:
    # Right and plain against wrong and plain: 2.5 points apart.
    right, wrong = " It is Paris.", " It is Rome."
    assert preference_probability(FRANCE, right, wrong, 1.0) == pytest.approx(1 / (1 + math.exp(-2.5)))
    assert preference_probability(FRANCE, wrong, right, 0.5) == pytest.approx(1 / (1 + math.exp(5.0)))
    assert preference_probability(FRANCE, right, wrong, 1e-4) == 1.0
    with pytest.raises(UserError, match="above 0"):
        preference_probability(FRANCE, right, wrong, 0.0)


def test_best_accuracy_is_what_the_truth_reaches() -> None:
    best = best_accuracy(ROWS, 1.0)
    agree = 0.0
    for row in ROWS:
        a, b = (true_reward(row["query"], response) for response in row["responses"])
        agree += 0.5 if a == b else float((a > b) == (row["scores"][0] == 1.0))
    assert 0.80 < best < 0.85
    assert agree / len(ROWS) == pytest.approx(best, abs=0.05)
    with pytest.raises(UserError, match="found none"):
        best_accuracy([], 1.0)


def test_queries_are_distinct_and_exclude() -> None:
    first = {query.text for query in WORLD.queries(8000, "first", set())}
    second = {query.text for query in WORLD.queries(1000, "second", first)}
    assert len(first) == 8000 and len(second) == 1000 and not first & second


def test_a_world_that_is_used_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apo.demo.world.draw_query", lambda rng: QUERIES[0])
    with pytest.raises(UserError, match="only 1 new"):
        WORLD.queries(2, "test", set())


def test_documents_hold_each_dialogue_and_right_answers() -> None:
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
        assert true_reward(ask(question), f" {answer}") == 2.0, text


def test_flaws_of_golden_answers() -> None:
    expert, some, more, all_of_them = (
        list(WORLD.golden(QUERIES[:400], part)) for part in (0.0, 0.3, 0.6, 1.0)
    )
    worth = [
        [true_reward(row["query"], row["golden"]) for row in rows] for rows in (expert, some, all_of_them)
    ]
    assert set(worth[0]) == {3.0}
    # A writer of the comparisons is as good as the expert now and then, so fewer than the part are worse.
    assert 0.2 < sum(one < 3.0 for one in worth[1]) / 400 < 0.3
    assert sum(worth[2]) / 400 < 1.5
    # What is not flawed is the expert's answer still, and what is flawed in a part is so in a larger one.
    flawed = [{i for i, row in enumerate(rows) if row != expert[i]} for rows in (some, more, all_of_them)]
    assert flawed[0] < flawed[1] < flawed[2]
    assert all(some[i] == more[i] == all_of_them[i] for i in flawed[0])


def test_what_is_written_about_a_query_depends_on_nothing_else() -> None:
    assert list(WORLD.comparisons(QUERIES[50:60], 1.0, "test")) == ROWS[50:60]
    assert list(WORLD.comparisons(QUERIES[50:60], 1.0, "other")) != ROWS[50:60]
    assert World(8).queries(20, "test", set()) != QUERIES[:20]


def test_same_texts_in_any_process_without_heavy_imports() -> None:
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
