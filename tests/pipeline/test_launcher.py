"""The stages of the demo under torchrun, by the commands that dvc.yaml has."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from tests.helpers.played_repo import dvc, ran, stages, written
from tests.helpers.small_repo import ROOT
from tests.pipeline.test_hermetic import files_below

LAUNCHER = "python -m stages.distributed "
TRAININGS = re.compile(r"backbone|actor|train_\w+|test_rm|align")
WEIGHTS = 1e-5  # two processes add gradients in another order


def commands(repository: Path) -> dict[str, str]:
    """The commands in dvc.lock by the stages."""
    lock = YAML(typ="safe").load((repository / "dvc.lock").read_text(encoding="utf-8"))
    return {name: stage["cmd"] for name, stage in lock["stages"].items()}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_write_what_one_does(played: Path) -> None:
    """Every stage that computes: samples, rewards and metrics to the byte, weights and curves up to rounding.

    Each has the inputs of the game that one process played, since the last stage runs first.
    """
    declared = stages(played)
    launched = [name for name in reversed(declared) if LAUNCHER in declared[name]["cmd"]]
    wanted = {name: files_below(played, written(declared[name])) for name in launched}
    before = commands(played)
    shutil.rmtree(played / ".cache" / "checkpoints")
    launch = {"APO_LAUNCH": "torchrun --standalone --nproc_per_node 2"}
    output = dvc(played, "repro", "--force", "--single-item", *launched, **launch)
    assert ran(output) == set(launched)
    for name in launched:
        found = files_below(played, written(declared[name]))
        assert found.keys() == wanted[name].keys(), name
        if not TRAININGS.fullmatch(name.partition("@")[0]):
            assert found == wanted[name], name
            continue
        [card] = [content.decode() for path, content in found.items() if path.endswith("README.md")]
        assert "- `processes`: 2\n" in card, name
        for path in (path for path in found if path.endswith(".safetensors")):
            (played / "one.safetensors").write_bytes(wanted[name][path])
            one, two = load_file(played / "one.safetensors"), load_file(played / path)
            assert one.keys() == two.keys()
            gap = max(float((two[key] - one[key]).abs().max()) for key in one)
            assert gap < WEIGHTS, (name, gap)
            assert all(tensor.dtype == torch.float32 for tensor in two.values())
    # The command is that of one process: nothing in the lock depends on the launcher.
    assert commands(played) == before
    assert sum(command.startswith(LAUNCHER) for command in before.values()) == len(launched)


def test_the_stages_that_compute_are_launched() -> None:
    """And no other: those would do the same work in every process."""
    declared = stages(ROOT)
    launched = {name.partition("@")[0] for name in declared if LAUNCHER in declared[name]["cmd"]}
    evaluations = {"evaluate_base_rm", "evaluate_apo_rm", "evaluate_test_rm"}
    trainings = {"backbone", "actor", "train_base_rm", "train_apo_rm", "test_rm", "align"}
    drawn = {"sample_rm", "sample", "answer_actor", "answer"}
    assert launched == evaluations | trainings | drawn | {"score_base", "score", "payoff"}
