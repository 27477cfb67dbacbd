"""In dvc.yaml, what evaluates trains nothing, the arms stay apart, and no round reads a later one."""

import ast
from pathlib import Path

import pytest

from apo.splits.splitting import EVALUATED_ON
from tests.helpers.pipeline_file import (
    ALL,
    VARIANTS,
    calls,
    text,
)

MEASURING = {
    "answer",
    "answer_actor",
    "evaluate",
    "payoff",
    "judge",
    "tables",
    "plots",
    *VARIANTS["evaluate_rm"],
}


def test_what_is_made_of_the_test_set_trains_nothing() -> None:
    """Answers to test queries and the judge are read by what measures alone; nothing trained reads test."""
    for stage in ALL:
        if stage.name in MEASURING:
            assert not any(out.startswith(("models/", "data/rjs")) for out in stage.outs), stage.address
            continue
        of_test = ("data/split/test", "data/answers", "data/evaluate", "data/payoff", "models/rm_test")
        assert not any(dep.startswith(of_test) for dep in stage.data), stage.address
        reads_valid = "data/split/rm_valid.jsonl" in stage.data
        assert not reads_valid or stage.name in ("train_base_rm", "train_apo_rm", "test_rm"), stage.address
        reads_metrics = any(dep.startswith("metrics/") for dep in stage.data)
        assert not reads_metrics or stage.name in ("score", "score_base"), stage.address  # the gate


def test_the_arms_do_not_touch_each_other() -> None:
    """What the APO RM makes is read by no stage of the control arm, in any round."""
    for stage in ALL:
        if stage.address.endswith("-base") or stage.name in ("score_base", "evaluate_base_rm"):
            assert not any("apo" in dep for dep in stage.data), stage.address
        if stage.name in ("sample_rm", "convert", "evaluate_apo_rm", "score") or stage.address.endswith(
            "-apo"
        ):
            assert not any("base" in dep for dep in stage.data), stage.address


def test_an_earlier_round_reads_nothing_of_a_later_one() -> None:
    """But for payoff: the RMs of all rounds rate the answers of all language models."""
    for stage in ALL:
        if "@round0" in stage.address and stage.name != "payoff":
            assert not any("r2" in dep.split("/") for dep in stage.data), stage.address


def _trained_on(checkpoint: str) -> set[str]:
    """The comparisons that a reward model, or one that it may have started from, learned from, as paths."""
    [stage] = [stage for stage in ALL if checkpoint in stage.outs]
    starts = {dep for dep in stage.data if dep.startswith("models/rm_")}
    paths: set[str] = set()
    for _, call in calls(stage.script, "train_rm"):
        [given] = [word.value for word in call.keywords if word.arg == "comparisons"]
        assert isinstance(given, ast.List)
        paths |= {text(node, stage.arguments) for node in given.elts}
    return paths.union(*map(_trained_on, starts))


SPLITS = {"rm_train": "rm", "llm_train": "llm", "rm_valid": "valid", "test": "test"}


@pytest.mark.parametrize("name", VARIANTS["evaluate_rm"])
def test_no_rm_is_measured_on_what_it_is_trained_on(name: str) -> None:
    """`valid` trains the testing RM, so it never measures it; `split` proves all the other pairs disjoint."""
    for stage in (stage for stage in ALL if stage.name == name):
        measured = {key: stage.arguments[key] for key in ("test", "valid") if key in stage.arguments}
        assert measured.keys() == ({"test"} if name == "evaluate_test_rm" else {"test", "valid"})
        assert set(measured.values()) == {dep for dep in stage.data if dep.startswith("data/split/")}
        trained = _trained_on(stage.arguments["model"])
        assert trained and not trained & set(measured.values())
        for path in trained:
            proven = set(EVALUATED_ON[SPLITS[Path(path).stem]])
            assert {SPLITS[Path(other).stem] for other in measured.values()} <= proven, (path, stage.address)


def test_the_gate_reads_the_evaluation_of_the_rm_that_scores() -> None:
    for stage in (stage for stage in ALL if stage.script == "stages/score.py"):
        [evaluation] = [one for one in ALL if stage.arguments["evaluation"] in one.metrics]
        assert evaluation.arguments["model"] == stage.arguments["model"], stage.address
        assert "valid" in evaluation.arguments, stage.address
