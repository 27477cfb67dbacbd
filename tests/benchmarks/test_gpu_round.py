"""The stages of a round that `make gpu` plays. The round itself is played in test_gpu.py."""

import pytest

from benchmarks.gpu_round import ARMS, LAST, changed, filled, stages
from tests.helpers.params import PARAMS


def test_stages_are_those_of_the_pipeline_up_to_the_last_one() -> None:
    commands = list(stages(PARAMS))
    names = [name for name, _ in commands]
    assert (names[0], names[-1]) == ("data", LAST) and "judge" not in names
    assert [names.count(name) for name in ("score", "align", "train_apo_rm")] == [1, len(ARMS), 1]
    assert not [word for _, command in commands for word in command if "${" in word]
    made = {word for _, command in commands for word in command}
    assert {"data/samples/r1/apo.jsonl", "models/llm_base/r0", "models/backbone"} <= made


def test_filled_replaces_nested_values() -> None:
    assert filled("--id ${a.b}/${c}", {"a": {"b": 1}, "c": "x"}) == "--id 1/x"


def test_changed_refuses_a_key_that_is_no_parameter() -> None:
    assert changed({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    with pytest.raises(KeyError, match="d"):
        changed({"a": {"b": 1}}, {"a": {"d": 3}})
