"""Language models against each other: every number on rows that can be counted by hand."""

import pytest

from apo.core.errors import UserError
from apo.core.records import Row
from apo.demo import true_reward
from apo.evaluation.compare_llms import (
    chosen_truth,
    compare,
    compare_all,
    summarize,
    text_statistics,
    with_true_rewards,
)

SEED = {"seed": 1, "resamples": 500}
SUM = "\n\nHuman: What is two plus three?\n\nAssistant:"
CAPITAL = "\n\nHuman: What is the capital of France?\n\nAssistant:"


def test_compare_by_hand() -> None:
    duel = compare([1.0, 2.0, 3.0], [0.0, 2.0, 5.0], **SEED)
    assert duel["difference"] == pytest.approx((1 + 0 - 2) / 3)
    assert (duel["win"], duel["tie"], duel["lose"]) == (1, 1, 1)
    assert duel["win_rate"] == 0.5  # (1 + 1/2 + 0) / 3
    assert 0 <= duel["win_rate_low"] < 0.5 < duel["win_rate_high"] <= 1
    assert duel["sign_test_p"] == 1.0
    # A resample of the differences 1, 0, -2 has a mean between -2 and 1.
    assert -2 <= duel["low"] < duel["difference"] < duel["high"] <= 1


def test_compare_the_other_way_round_is_the_mirror() -> None:
    first, second = [0.5, 1.5, -2.0, 4.0, 0.0, 3.0], [0.0, 2.0, -1.0, 1.0, 0.0, 1.0]
    one, other = compare(first, second, **SEED), compare(second, first, **SEED)
    assert one["difference"] == pytest.approx(-other["difference"]) and one["difference"] > 0
    assert (one["low"], one["high"]) == (pytest.approx(-other["high"]), pytest.approx(-other["low"]))
    assert (one["win"], one["tie"], one["lose"]) == (other["lose"], other["tie"], other["win"]) == (3, 1, 2)
    assert one["sign_test_p"] == other["sign_test_p"] == pytest.approx(1.0)


def test_compare_ignores_a_constant_added_to_both() -> None:
    first, second = [float(n + 1) for n in range(8)], [float(n) for n in range(8)]
    duel = compare(first, second, **SEED)
    # All differences are 1, so is every mean of a resample; the sign test has two tails of 1/2^8.
    assert (duel["difference"], duel["low"], duel["high"]) == (1.0, 1.0, 1.0)
    assert duel["sign_test_p"] == pytest.approx(2 / 2**8)
    assert compare([x + 7 for x in first], [x + 7 for x in second], **SEED) == duel


def test_compare_of_ties_alone_has_no_sign_test() -> None:
    assert compare([1.0, 2.0], [1.0, 2.0], **SEED) == {
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "win": 0,
        "tie": 2,
        "lose": 0,
        "win_rate": 0.5,
        "win_rate_low": 0.5,
        "win_rate_high": 0.5,
    }


def test_compare_depends_on_the_seed_in_its_interval_alone() -> None:
    first, second = [0.1 * n**2 for n in range(12)], [float(n) for n in range(12)]
    assert compare(first, second, **SEED) == compare(first, second, **SEED)
    assert compare(first, second, **SEED)["low"] != compare(first, second, seed=2, resamples=500)["low"]


def test_compare_refuses_what_can_not_be_compared() -> None:
    with pytest.raises(UserError, match="found 1 queries"):
        compare([1.0], [2.0], **SEED)
    with pytest.raises(UserError, match="1 of 2 queries with NaN"):
        compare([1.0, float("nan")], [2.0, 1.0], **SEED)
    with pytest.raises(ValueError, match="not pairs"):
        compare([1.0, 2.0], [2.0], **SEED)


def _row(name: str, samples: list[str], scores: list[float], query: str = SUM) -> Row:
    return {"query_id": name, "query": query, "samples": samples, "scores": scores}


def test_summarize_averages_over_queries_first() -> None:
    rows = [_row("a", ["one two", ""], [1.0, 3.0]), _row("b", ["one two"], [-1.0])]
    summary = summarize(rows, **SEED)
    assert summary.pop("score_low") == -1.0 and summary.pop("score_high") == 2.0  # both queries the same one
    assert summary == {
        "queries": 2,
        "score_mean": (2.0 - 1.0) / 2,  # not (1 + 3 - 1) / 3
        "words_mean": 4 / 3,
        "blank": 1,
        "distinct": 2 / 3,
        "distinct_1": 2 / 4,
        "distinct_2": 1 / 2,
    }


def test_summarize_sums_kl_over_an_answer_and_averages_over_tokens() -> None:
    rows = [_row("a", ["x"], [0.0]), _row("b", ["y"], [0.0])]
    measured = [rows[0] | {"kl": [3.0], "tokens": [4]}, rows[1] | {"kl": [1.0], "tokens": [1]}]
    summary = summarize(measured, **SEED)
    assert (summary["kl_mean"], summary["kl_per_token"]) == (2.0, 4 / 5)


def test_text_statistics_count_repetition_within_an_answer() -> None:
    assert text_statistics(["a b c", "a b c"])["repetition"] == 0.0
    assert text_statistics(["a b c a b c"])["repetition"] == 1 / 4  # abc bca cab abc
    assert "repetition" not in text_statistics(["a b"])
    assert text_statistics(["", " "]) == {"words_mean": 0, "blank": 2, "distinct": 1.0}


def test_with_true_rewards_adds_the_truth_where_it_is_known() -> None:
    rows = with_true_rewards([_row("a", ["Five.", ""], [0.0, 0.0]), _row("b", ["Paris."], [1.0], CAPITAL)])
    assert rows[0]["true_rewards"] == [true_reward(SUM, "Five."), true_reward(SUM, "")]
    assert rows[0]["true_rewards"][0] > rows[0]["true_rewards"][1]
    summary = summarize(rows, **SEED)
    first, second = (sum(row["true_rewards"]) / len(row["true_rewards"]) for row in rows)
    assert summary["true_reward_mean"] == pytest.approx((first + second) / 2)


def test_compare_all_compares_the_later_with_the_earlier() -> None:
    arms = {
        "actor": [_row("a", ["x"], [0.0]), _row("b", ["x"], [0.0])],
        "llm_base": [_row("a", ["y"], [1.0]), _row("b", ["y"], [1.0])],
        "llm_apo": [_row("a", ["x", "y"], [2.0, 4.0]), _row("b", ["z"], [0.0])],
    }
    comparisons = compare_all(arms, exclude=[], **SEED)
    assert compare_all(arms, exclude=["actor", "llm_base"], **SEED).keys() == comparisons.keys() - {
        "llm_base_vs_actor"
    }
    assert list(comparisons) == ["llm_base_vs_actor", "llm_apo_vs_actor", "llm_apo_vs_llm_base"]
    assert all(duels.keys() == {"score"} for duels in comparisons.values())
    assert comparisons["llm_base_vs_actor"]["score"]["difference"] == 1.0
    assert comparisons["llm_apo_vs_actor"]["score"]["difference"] == 1.5  # (3 + 0) / 2
    assert comparisons["llm_apo_vs_llm_base"]["score"]["difference"] == 0.5  # (2 - 1) / 2
    assert (
        comparisons["llm_apo_vs_llm_base"]["score"]["win"],
        comparisons["llm_apo_vs_llm_base"]["score"]["lose"],
    ) == (
        1,
        1,
    )


def test_compare_all_takes_equal_answers_for_a_tie_whatever_their_rewards_are_rounded_to() -> None:
    one = [_row("a", ["x"], [0.101]), _row("b", ["y"], [1.0])]
    two = [_row("a", ["x"], [0.102]), _row("b", ["z"], [2.0])]
    duel = compare_all({"one": one, "two": two}, exclude=[], **SEED)["two_vs_one"]["score"]
    assert (duel["win"], duel["tie"], duel["lose"], duel["difference"]) == (1, 1, 0, 0.5)


def test_compare_all_compares_true_rewards_too() -> None:
    worse = with_true_rewards([_row("a", ["Six."], [1.0]), _row("b", ["Seven."], [1.0])])
    right = with_true_rewards([_row("a", ["Five."], [0.0]), _row("b", ["Five."], [0.0])])
    duel = compare_all({"one": worse, "two": right}, exclude=[], **SEED)["two_vs_one"]
    assert duel["score"]["difference"] == -1.0
    assert duel["true_reward"]["difference"] > 0


def test_compare_all_refuses_answers_to_other_queries() -> None:
    arms = {"one": [_row("a", ["x"], [0.0])], "two": [_row("b", ["x"], [0.0])]}
    with pytest.raises(UserError, match="answers of one and two: found other queries"):
        compare_all(arms, exclude=[], **SEED)


def _selected(name: str, target_index: int, scores: list[float], query: str = SUM) -> Row:
    samples = ["Five.", "Six.", "Go away."] if query == SUM else ["Rome.", "Paris."]
    return _row(name, samples, scores, query) | {"target_index": target_index}


def test_chosen_truth_by_hand() -> None:
    five, six, rude = (true_reward(SUM, text) for text in ("Five.", "Six.", "Go away."))
    rome, paris = true_reward(CAPITAL, "Rome."), true_reward(CAPITAL, "Paris.")
    assert five > six > rude and paris > rome
    base = [_selected("a", 1, [1.0, 2.0, 0.0]), _selected("b", 0, [1.0, 0.0], CAPITAL)]
    apo = [_selected("b", 1, [0.0, 1.0], CAPITAL), _selected("a", 2, [0.0, 1.0, 2.0])]
    truth = chosen_truth({"base": base, "apo": apo}, **SEED | {"resamples": 100})
    random, best = ((five + six + rude) / 3 + (rome + paris) / 2) / 2, (five + paris) / 2
    assert truth["base"]["random"] == pytest.approx(random) == truth["apo"]["random"]
    assert truth["base"]["best"] == pytest.approx(best)
    assert truth["base"]["chosen"] == pytest.approx((six + rome) / 2)
    assert truth["apo"]["chosen"] == pytest.approx((paris + rude) / 2)
    share = ((six + rome) / 2 - random) / (best - random)
    assert truth["base"]["share_of_best"] == pytest.approx(share)
    # Of three pairs two are in the true order: (2 - 1) / 3; of one none: -1.
    assert truth["base"]["tau"] == pytest.approx((1 / 3 - 1) / 2)
    assert truth["apo"]["tau"] == pytest.approx((1 - 1) / 2)


def test_chosen_truth_compares_queries_of_both_arms() -> None:
    rome, paris = true_reward(CAPITAL, "Rome."), true_reward(CAPITAL, "Paris.")
    base = [_selected(name, 0, [1.0, 0.0], CAPITAL) for name in ("a", "b", "only base")]
    apo = [
        _selected(name, index, [1.0, 0.0], CAPITAL) for name, index in (("b", 1), ("only apo", 1), ("a", 0))
    ]
    truth = chosen_truth({"base": base, "apo": apo}, **SEED)
    assert truth["queries"] == 2
    assert truth["apo_vs_base"]["difference"] == pytest.approx((paris - rome) / 2)
    assert (truth["apo_vs_base"]["win"], truth["apo_vs_base"]["tie"]) == (1, 1)


def test_chosen_truth_has_no_rank_correlation_of_equal_rewards() -> None:
    rows = [_selected(name, 0, [1.0, 1.0], CAPITAL) for name in "ab"]
    assert "tau" not in chosen_truth({"base": rows, "apo": rows}, **SEED)["base"]


def test_chosen_truth_refuses_selections_without_a_common_query() -> None:
    with pytest.raises(UserError, match="found no query that both have"):
        chosen_truth(
            {"base": [_selected("a", 0, [1.0, 0.0, 0.0])], "apo": [_selected("b", 0, [1.0, 0.0, 0.0])]},
            **SEED,
        )
