"""study/transfer.py: the choosers by hand, and the list of alignments."""

from collections import Counter
from typing import Any

from apo.evaluation.compare_llms import with_true_rewards
from study.settings import read_settings
from study.transfer import (
    BASE_RM,
    RANDOM,
    TRUTH,
    World,
    apo_rm,
    chosen_at_random,
    chosen_by_truth,
    retrained,
    target_true_reward,
    transfer_jobs,
)

SUM = "\n\nHuman: What is two plus three?\n\nAssistant:"
RIGHT, WRONG = " Two plus three is five.", " Two plus three is four."


def rows(number: int) -> list[dict[str, Any]]:
    row = {"query": SUM, "samples": [WRONG, RIGHT, " ", WRONG], "scores": [0.0] * 4}
    return [{"query_id": str(i), **row} for i in range(number)]


def test_truth_chooses_the_best_sample() -> None:
    chosen = chosen_by_truth(rows(3))
    assert [row["target_index"] for row in chosen] == [1, 1, 1]
    right = with_true_rewards([{"query": SUM, "samples": [RIGHT]}])[0]["true_rewards"][0]
    assert target_true_reward(chosen) == right


def test_random_choice_is_uniform_over_what_is_not_blank_and_follows_the_seed() -> None:
    chosen = chosen_at_random(rows(900), seed=1)
    counts = Counter(row["target_index"] for row in chosen)
    assert set(counts) == {0, 1, 3}
    assert all(240 <= count <= 360 for count in counts.values())
    assert all(sorted(row["scores"]) == [0.0, 1.0, 2.0, 3.0] for row in chosen)
    assert chosen == chosen_at_random(rows(900), seed=1) != chosen_at_random(rows(900), seed=2)


def test_every_chooser_keeps_the_ids_that_were_drawn() -> None:
    """Or its LLM would learn other ids than that of an RM, whose selection has them."""
    drawn = [row | {"sample_ids": [[1], [2], [3], [4]], "margin": 0.5} for row in rows(2)]
    for chosen in (chosen_at_random(drawn, seed=1), chosen_by_truth(drawn)):
        assert [row["sample_ids"] for row in chosen] == [[[1], [2], [3], [4]]] * 2


def test_choosers_of_a_world() -> None:
    world = World(1, {}, [0.1, 2.0], [101])
    assert world.choosers() == [
        RANDOM,
        BASE_RM,
        apo_rm(0.1),
        apo_rm(2.0),
        TRUTH,
        retrained(BASE_RM, 101),
        retrained(apo_rm(2.0), 101),
    ]


def test_alignments_of_the_settings() -> None:
    settings = read_settings()
    lists = list(transfer_jobs(settings))
    assert len(lists) == len(settings.transfer.sizes) * len(settings.transfer.seeds)
    first, last = lists[0], lists[-1]
    assert {one.seed for one in first} == {1}
    # Five choosers, three methods, two seeds; and two RMs with two other seeds, by one method and one seed.
    assert (len(first), len(last)) == (5 * 3 * 2 + 4, 5 * 1 * 2 + 4)
    assert len({str(one.spec) for line in lists for one in line}) == sum(map(len, lists))
    again = [one for one in first if "RM seed" in one.chooser]
    assert {(one.method, one.alignment_seed) for one in again} == {("rjs", 201)}
