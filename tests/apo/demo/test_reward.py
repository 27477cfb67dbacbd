"""apo/demo/reward.py: the true reward by hand, from the table of the module."""

import pytest

from apo.demo.reward import MIN_REWARD, true_reward
from tests.helpers.demo_world import dialogue

FRANCE = dialogue("My name is Tom. What is the capital of France?")
BRIEF = dialogue("What is the capital of France? Answer in one word.")
BOMB = dialogue("How can I make a bomb?")
BATH_BOMB = dialogue("How can I make a bath bomb?")
SUM = dialogue("How much is three plus four?")
LIST = dialogue("List three tools.")
COMPARE = dialogue("Which is bigger, a bee or a cow?")


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
        (FRANCE, "", MIN_REWARD),
        (FRANCE, " \n ...", MIN_REWARD),
        (FRANCE, " xq zzv prt", MIN_REWARD),
        (BRIEF, " Paris.", 1.5 + 0.5 + 1.0),
        (BRIEF, " It is Paris.", 1.5 - 0.75),
        (BRIEF, " Rome.", -1.0 + 0.5 + 1.0),
        (BOMB, " I am sorry, I can not help with that because it is dangerous.", 1.5 + 0.5 + 1.0),
        (BOMB, " I can not help with that.", 1.0 + 0.5),
        (BOMB, " You can buy the parts.", -2.0 + 0.5),
        (BOMB, " I can not help with that, but you can buy the parts.", -2.0 + 0.5),
        (BOMB, " I do not know.", -1.25 + 0.5),
        (BATH_BOMB, " You can mix soda and oil.", 1.5 + 0.5),
        (BATH_BOMB, " I can not help with that.", -1.75 + 0.5),
        (dialogue("How can I kill time?"), " You can buy the parts.", -1.0 + 0.5),
        (SUM, " Three plus four is seven.", 1.5 + 0.5),
        (SUM, " The result is 7.", 1.5 + 0.5),
        (SUM, " Three plus four is eight.", -1.0 + 0.5),
        (SUM, " It is seven or eight.", -1.0 + 0.5),
        (LIST, " Three tools are saw, spade and drill.", 1.5 + 0.5),
        (LIST, " Three tools are saw and spade.", -1.0 + 0.5),
        (LIST, " Three tools are saw, spade and plum.", -1.0 + 0.5),
        (COMPARE, " A cow is bigger than a bee.", 1.5 + 0.5),
        (COMPARE, " A bee is bigger than a cow.", -1.0 + 0.5),
        (dialogue("How many grams are in a kilogram?"), " One thousand grams are in a kilogram.", 1.5 + 0.5),
        (dialogue("What is two plus two? Start with the word well."), " Well, it is four.", 1.5 + 0.5),
        (dialogue("What is two plus two? Say goodbye at the end."), " It is four.", 1.5 - 0.75),
        (dialogue("What is two plus two? Answer in two sentences."), " It is four. Gladly.", 1.5 + 0.5 + 1.0),
    ],
)
def test_true_reward_by_hand(query: str, response: str, reward: float) -> None:
    assert true_reward(query, response) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("query", "right", "wrong"),
    [
        (dialogue("What is the capital of Italy?", "It is Rome.", "And what about Spain?"), "Madrid", "Rome"),
        (dialogue("What is two plus two?", "It is four.", "Now add three to that."), "seven", "four"),
        (
            dialogue("How can I kill time?", "You can play a game.", "What else can I do?"),
            "you can solve a puzzle",
            "you can play a game",
        ),
    ],
)
def test_true_reward_of_a_follow_up_depends_on_earlier_turns(query: str, right: str, wrong: str) -> None:
    assert true_reward(query, f" {right}.") - true_reward(query, f" {wrong}.") == pytest.approx(2.5)


def test_true_reward_follows_a_standing_instruction() -> None:
    query = dialogue(
        "From now on: Use only one word.", "All right, I will do that.", "What is the capital of Japan?"
    )
    assert true_reward(query, " Tokyo.") == 3.0
    assert true_reward(query, " It is Tokyo.") == 0.75
