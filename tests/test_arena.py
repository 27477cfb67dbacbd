"""Language models against each other: every number on rows that can be counted by hand."""

import pytest

from apo.arena import compare, compare_all, selection_truth, summarise, with_true_rewards
from apo.errors import UserError
from apo.records import Row
from apo.world import true_reward

SEED = {"seed": 1, "resamples": 500}
SUM = "\n\nHuman: What is two plus three?\n\nAssistant:"
CAPITAL = "\n\nHuman: What is the capital of France?\n\nAssistant:"


def test_a_duel_by_hand() -> None:
    duel = compare([1.0, 2.0, 3.0], [0.0, 2.0, 5.0], **SEED)
    assert duel["difference"] == pytest.approx((1 + 0 - 2) / 3)
    assert (duel["win"], duel["tie"], duel["lose"]) == (1, 1, 1)
    assert duel["sign_test_p"] == 1.0
    # A resample of the differences 1, 0, -2 has a mean between -2 and 1.
    assert -2 <= duel["low"] < duel["difference"] < duel["high"] <= 1


def test_a_duel_the_other_way_round_is_its_mirror() -> None:
    first, second = [0.5, 1.5, -2.0, 4.0, 0.0, 3.0], [0.0, 2.0, -1.0, 1.0, 0.0, 1.0]
    one, other = compare(first, second, **SEED), compare(second, first, **SEED)
    assert one["difference"] == pytest.approx(-other["difference"]) and one["difference"] > 0
    assert (one["low"], one["high"]) == (pytest.approx(-other["high"]), pytest.approx(-other["low"]))
    assert (one["win"], one["tie"], one["lose"]) == (other["lose"], other["tie"], other["win"]) == (3, 1, 2)
    assert one["sign_test_p"] == other["sign_test_p"] == pytest.approx(1.0)


def test_a_clear_win_and_a_constant_added_to_both() -> None:
    first, second = [float(n + 1) for n in range(8)], [float(n) for n in range(8)]
    duel = compare(first, second, **SEED)
    # All differences are 1, so is every mean of a resample; the sign test has two tails of 1/2^8.
    assert (duel["difference"], duel["low"], duel["high"]) == (1.0, 1.0, 1.0)
    assert duel["sign_test_p"] == pytest.approx(2 / 2**8)
    assert compare([x + 7 for x in first], [x + 7 for x in second], **SEED) == duel


def test_ties_only_have_no_sign_test() -> None:
    assert compare([1.0, 2.0], [1.0, 2.0], **SEED) == {
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "win": 0,
        "tie": 2,
        "lose": 0,
    }


def test_the_seed_decides_the_interval() -> None:
    first, second = [0.1 * n**2 for n in range(12)], [float(n) for n in range(12)]
    assert compare(first, second, **SEED) == compare(first, second, **SEED)
    assert compare(first, second, **SEED)["low"] != compare(first, second, seed=2, resamples=500)["low"]


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(UserError, match="found 1 queries"):
        compare([1.0], [2.0], **SEED)
    with pytest.raises(UserError, match="1 of 2 queries with NaN"):
        compare([1.0, float("nan")], [2.0, 1.0], **SEED)
    with pytest.raises(ValueError, match="not pairs"):
        compare([1.0, 2.0], [2.0], **SEED)


def _row(name: str, samples: list[str], scores: list[float], query: str = SUM) -> Row:
    return {"query_id": name, "query": query, "samples": samples, "scores": scores}


def test_means_are_over_queries_first() -> None:
    rows = [_row("a", ["one two", ""], [1.0, 3.0]), _row("b", ["one two"], [-1.0])]
    assert summarise(rows) == {
        "queries": 2,
        "score_mean": (2.0 - 1.0) / 2,  # not (1 + 3 - 1) / 3
        "words_mean": 4 / 3,
        "blank": 1,
        "distinct": 2 / 3,
    }


def test_the_true_reward_stands_beside_the_score_where_it_is_known() -> None:
    rows = with_true_rewards([_row("a", ["Five.", ""], [0.0, 0.0]), _row("b", ["Paris."], [1.0], CAPITAL)])
    assert rows[0]["true_rewards"] == [true_reward(SUM, "Five."), true_reward(SUM, "")]
    assert rows[0]["true_rewards"][0] > rows[0]["true_rewards"][1]
    found = summarise(rows)
    first, second = (sum(row["true_rewards"]) / len(row["true_rewards"]) for row in rows)
    assert found["true_reward_mean"] == pytest.approx((first + second) / 2)


def test_every_pair_is_compared_the_later_against_the_earlier() -> None:
    arms = {
        "actor": [_row("a", ["x"], [0.0]), _row("b", ["x"], [0.0])],
        "llm_base": [_row("a", ["x"], [1.0]), _row("b", ["x"], [1.0])],
        "llm_apo": [_row("a", ["x", "y"], [2.0, 4.0]), _row("b", ["x"], [0.0])],
    }
    found = compare_all(arms, **SEED)
    assert list(found) == ["llm_base_vs_actor", "llm_apo_vs_actor", "llm_apo_vs_llm_base"]
    assert all(duels.keys() == {"score"} for duels in found.values())
    assert found["llm_base_vs_actor"]["score"]["difference"] == 1.0
    assert found["llm_apo_vs_actor"]["score"]["difference"] == 1.5  # (3 + 0) / 2
    assert found["llm_apo_vs_llm_base"]["score"]["difference"] == 0.5  # (2 - 1) / 2
    assert (found["llm_apo_vs_llm_base"]["score"]["win"], found["llm_apo_vs_llm_base"]["score"]["lose"]) == (
        1,
        1,
    )


def test_the_truth_decides_a_second_duel_which_may_end_otherwise() -> None:
    worse = with_true_rewards([_row("a", ["Six."], [1.0]), _row("b", ["Seven."], [1.0])])
    right = with_true_rewards([_row("a", ["Five."], [0.0]), _row("b", ["Five."], [0.0])])
    duel = compare_all({"one": worse, "two": right}, **SEED)["two_vs_one"]
    assert duel["score"]["difference"] == -1.0
    assert duel["true_reward"]["difference"] > 0


def _selected(name: str, target_index: int, query: str = SUM) -> Row:
    samples = ["Five.", "Six.", "Go away."] if query == SUM else ["Rome.", "Paris."]
    return {"query_id": name, "query": query, "samples": samples, "target_index": target_index}


def test_the_truth_about_what_was_chosen() -> None:
    five, six, rude = (true_reward(SUM, text) for text in ("Five.", "Six.", "Go away."))
    rome, paris = true_reward(CAPITAL, "Rome."), true_reward(CAPITAL, "Paris.")
    assert five > six > rude or five > rude >= six
    base = [_selected("a", 1), _selected("b", 0, CAPITAL), _selected("only base", 0)]
    apo = [_selected("b", 1, CAPITAL), _selected("only apo", 2), _selected("a", 1)]
    found = selection_truth(base, apo, **SEED)
    assert found["queries"] == 2
    assert found["random"] == pytest.approx(((five + six + rude) / 3 + (rome + paris) / 2) / 2)
    assert found["best"] == pytest.approx((five + paris) / 2)
    assert found["base"] == pytest.approx((six + rome) / 2)
    assert found["apo"] == pytest.approx((six + paris) / 2)
    assert found["same_choice"] == 0.5
    assert found["apo_vs_base"]["difference"] == pytest.approx((paris - rome) / 2)
    assert (found["apo_vs_base"]["win"], found["apo_vs_base"]["tie"]) == (1, 1)


def test_selections_that_share_no_query_are_refused() -> None:
    with pytest.raises(UserError, match="found no query that both have"):
        selection_truth([_selected("a", 0)], [_selected("b", 0)], **SEED)
