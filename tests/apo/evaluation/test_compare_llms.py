"""Language models against each other: every number on rows that can be counted by hand."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.core.records import Row, write_rows
from apo.demo import true_reward
from apo.evaluation.compare_llms import (
    chosen_truth,
    compare,
    compare_all,
    summarize,
    text_statistics,
    with_true_rewards,
)
from apo.evaluation.payoff import payoff_row, read_arms

SEED = {"seed": 1, "resamples": 500}
SUM = "\n\nHuman: What is two plus three?\n\nAssistant:"
CAPITAL = "\n\nHuman: What is the capital of France?\n\nAssistant:"


def test_a_duel_by_hand() -> None:
    duel = compare([1.0, 2.0, 3.0], [0.0, 2.0, 5.0], **SEED)
    assert duel["difference"] == pytest.approx((1 + 0 - 2) / 3)
    assert (duel["win"], duel["tie"], duel["lose"]) == (1, 1, 1)
    assert duel["win_rate"] == 0.5  # (1 + 1/2 + 0) / 3
    assert 0 <= duel["win_rate_low"] < 0.5 < duel["win_rate_high"] <= 1
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
        "win_rate": 0.5,
        "win_rate_low": 0.5,
        "win_rate_high": 0.5,
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
    found = summarize(rows, **SEED)
    assert found.pop("score_low") == -1.0 and found.pop("score_high") == 2.0  # both queries the same one
    assert found == {
        "queries": 2,
        "score_mean": (2.0 - 1.0) / 2,  # not (1 + 3 - 1) / 3
        "words_mean": 4 / 3,
        "blank": 1,
        "distinct": 2 / 3,
        "distinct_1": 2 / 4,
        "distinct_2": 1 / 2,
    }


def test_divergence_is_summed_over_an_answer_and_averaged_over_its_tokens() -> None:
    rows = [_row("a", ["x"], [0.0]), _row("b", ["y"], [0.0])]
    measured = [rows[0] | {"kl": [3.0], "tokens": [4]}, rows[1] | {"kl": [1.0], "tokens": [1]}]
    found = summarize(measured, **SEED)
    assert (found["kl_mean"], found["kl_per_token"]) == (2.0, 4 / 5)


def test_repetition_counts_what_stood_in_the_same_answer_before() -> None:
    assert text_statistics(["a b c", "a b c"])["repetition"] == 0.0
    assert text_statistics(["a b c a b c"])["repetition"] == 1 / 4  # abc bca cab abc
    assert "repetition" not in text_statistics(["a b"])
    assert text_statistics(["", " "]) == {"words_mean": 0, "blank": 2, "distinct": 1.0}


def test_the_true_reward_stands_beside_the_score_where_it_is_known() -> None:
    rows = with_true_rewards([_row("a", ["Five.", ""], [0.0, 0.0]), _row("b", ["Paris."], [1.0], CAPITAL)])
    assert rows[0]["true_rewards"] == [true_reward(SUM, "Five."), true_reward(SUM, "")]
    assert rows[0]["true_rewards"][0] > rows[0]["true_rewards"][1]
    found = summarize(rows, **SEED)
    first, second = (sum(row["true_rewards"]) / len(row["true_rewards"]) for row in rows)
    assert found["true_reward_mean"] == pytest.approx((first + second) / 2)


def test_every_pair_is_compared_the_later_against_the_earlier() -> None:
    arms = {
        "actor": [_row("a", ["x"], [0.0]), _row("b", ["x"], [0.0])],
        "llm_base": [_row("a", ["x"], [1.0]), _row("b", ["x"], [1.0])],
        "llm_apo": [_row("a", ["x", "y"], [2.0, 4.0]), _row("b", ["x"], [0.0])],
    }
    found = compare_all(arms, but=[], **SEED)
    assert compare_all(arms, but=["actor", "llm_base"], **SEED).keys() == found.keys() - {"llm_base_vs_actor"}
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
    duel = compare_all({"one": worse, "two": right}, but=[], **SEED)["two_vs_one"]
    assert duel["score"]["difference"] == -1.0
    assert duel["true_reward"]["difference"] > 0


def test_answers_to_other_queries_are_not_compared() -> None:
    arms = {"one": [_row("a", ["x"], [0.0])], "two": [_row("b", ["x"], [0.0])]}
    with pytest.raises(UserError, match="answers of one and two: found other queries"):
        compare_all(arms, but=[], **SEED)


def _selected(name: str, target_index: int, scores: list[float], query: str = SUM) -> Row:
    samples = ["Five.", "Six.", "Go away."] if query == SUM else ["Rome.", "Paris."]
    return _row(name, samples, scores, query) | {"target_index": target_index}


def test_the_truth_about_what_was_chosen() -> None:
    five, six, rude = (true_reward(SUM, text) for text in ("Five.", "Six.", "Go away."))
    rome, paris = true_reward(CAPITAL, "Rome."), true_reward(CAPITAL, "Paris.")
    assert five > six > rude and paris > rome
    base = [_selected("a", 1, [1.0, 2.0, 0.0]), _selected("b", 0, [1.0, 0.0], CAPITAL)]
    apo = [_selected("b", 1, [0.0, 1.0], CAPITAL), _selected("a", 2, [0.0, 1.0, 2.0])]
    found = chosen_truth({"base": base, "apo": apo}, **SEED | {"resamples": 100})
    random, best = ((five + six + rude) / 3 + (rome + paris) / 2) / 2, (five + paris) / 2
    assert found["base"]["random"] == pytest.approx(random) == found["apo"]["random"]
    assert found["base"]["best"] == pytest.approx(best)
    assert found["base"]["chosen"] == pytest.approx((six + rome) / 2)
    assert found["apo"]["chosen"] == pytest.approx((paris + rude) / 2)
    share = ((six + rome) / 2 - random) / (best - random)
    assert found["base"]["share_of_best"] == pytest.approx(share)
    # Of three pairs two are in the true order: (2 - 1) / 3; of one none: -1.
    assert found["base"]["tau"] == pytest.approx((1 / 3 - 1) / 2)
    assert found["apo"]["tau"] == pytest.approx((1 - 1) / 2)


def test_only_queries_of_both_arms_are_compared() -> None:
    rome, paris = true_reward(CAPITAL, "Rome."), true_reward(CAPITAL, "Paris.")
    base = [_selected(name, 0, [1.0, 0.0], CAPITAL) for name in ("a", "b", "only base")]
    apo = [
        _selected(name, index, [1.0, 0.0], CAPITAL) for name, index in (("b", 1), ("only apo", 1), ("a", 0))
    ]
    found = chosen_truth({"base": base, "apo": apo}, **SEED)
    assert found["queries"] == 2
    assert found["apo_vs_base"]["difference"] == pytest.approx((paris - rome) / 2)
    assert (found["apo_vs_base"]["win"], found["apo_vs_base"]["tie"]) == (1, 1)


def test_equal_rewards_have_no_rank_correlation() -> None:
    rows = [_selected(name, 0, [1.0, 1.0], CAPITAL) for name in "ab"]
    assert "tau" not in chosen_truth({"base": rows, "apo": rows}, **SEED)["base"]


def test_selections_that_share_no_query_are_refused() -> None:
    with pytest.raises(UserError, match="found no query that both have"):
        chosen_truth(
            {"base": [_selected("a", 0, [1.0, 0.0, 0.0])], "apo": [_selected("b", 0, [1.0, 0.0, 0.0])]},
            **SEED,
        )


def test_a_row_of_the_payoff_matrix_is_the_mean_over_queries() -> None:
    rows = [{"rewards": [1.0, 3.0]}, {"rewards": [-1.0]}]
    assert payoff_row({"actor": rows}, {"actor": {"responses_cut": 2, "items": 3}}) == {
        "actor": {"reward_mean": 0.5, "queries_cut": 0, "responses_cut": 2}
    }


def test_a_folder_of_answers_holds_a_file_for_each_language_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no answers"):
        read_arms(tmp_path)
    write_rows(tmp_path / "llm_apo_r1.jsonl", [_row("a", ["x"], [0.0])])
    assert read_arms(tmp_path) == {"llm_apo_r1": [_row("a", ["x"], [0.0])]}
