"""A stage that trains under a launcher: a rank is killed, stands still, or reads another state."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from tests.apo.training.test_engines import config_of
from tests.helpers.torchrun import TORCHRUN, Place, error_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
STAGE = "train_base_rm"


def steps_of(state: list[Path]) -> int:
    """Steps that a training has saved."""
    if not state:
        return 0
    with safe_open(state[0], framework="pt") as opened:
        return len(json.loads(opened.metadata()["curve"]))


def until_saved(process: subprocess.Popen[str], root: Path, steps: int) -> Path:
    """Waits for a state of so many steps; where it is."""
    while steps_of(found := list(root.glob(".cache/checkpoints/*/state.safetensors"))) < steps:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    return found[0]


def ranks_of(process: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The ranks that a launcher started."""
    family = psutil.Process(process.pid).children(recursive=True)
    return {p.environ()["RANK"]: p for p in family if "RANK" in p.environ()}


def test_a_rank_that_dies_ends_all_and_the_training_resumes(tmp_path: Path) -> None:
    """What a resumed training ends in, with each engine, is in test_engines.py."""
    place = Place(tmp_path)
    zero3 = {
        "APO_LAUNCH": TORCHRUN,
        "APO_DEEPSPEED": config_of("zero3", tmp_path),
        "APO_CHECKPOINT_SECONDS": "0",
        "APO_TOKEN_BUDGET": "200",
    }
    process = place.start(STAGE, "two", **zero3)
    until_saved(process, tmp_path / "root_two", 2)
    family = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    ranks_of(process)["1"].kill()
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and time.monotonic() - began < 60
    # Rank 0 says so, if the launcher does not end it before it looks.
    assert "rank 0: another rank has ended" in said or "closing signal SIGTERM" in said, said
    assert "RuntimeError" not in said, said
    assert re.search(r"rank +: 1 .*exitcode +: -9", said, flags=re.DOTALL), said  # torchrun says which
    assert not list(tmp_path.glob("two*"))
    assert not psutil.wait_procs(family, timeout=10)[1]

    said = place.ran(STAGE, "two", **zero3)
    assert said.count("base_rm: resumes after step") == 1
    assert len(place.curve("two")) == 10
    card = (tmp_path / "two" / "README.md").read_text(encoding="utf-8")
    assert '- `engine`: "deepspeed"\n' in card and "- `processes`: 2\n" in card
    assert place.metrics("two")["train_base_rm"]["saved"]["rows_compared"] == 19


def test_a_rank_that_stands_still_ends_all_at_the_time_limit(tmp_path: Path) -> None:
    """Under ZeRO the ranks wait for each other in a group that DeepSpeed makes."""
    place = Place(tmp_path)
    process = place.start(
        STAGE,
        "two",
        APO_LAUNCH=TORCHRUN,
        APO_DEEPSPEED=config_of("zero3", tmp_path),
        APO_CHECKPOINT_SECONDS="0",
        APO_COLLECTIVE_TIMEOUT="20",
    )
    until_saved(process, tmp_path / "root_two", 1)
    ranks = ranks_of(process)
    ranks["1"].suspend()
    began = time.monotonic()
    ranks["0"].wait(timeout=900)
    assert time.monotonic() - began > 10
    ranks["1"].resume()  # a launcher waits half a minute before it kills a process that stands still
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert error_of(said).startswith(
        "error: APO_COLLECTIVE_TIMEOUT: found rank 0 waiting for another one for 20 seconds; expected"
    ), said
    assert "RuntimeError" not in said and not list(tmp_path.glob("two*"))


def test_ranks_that_read_different_states(tmp_path: Path) -> None:
    """As on two machines that do not see the same disk: each rank has a root of its own."""
    place = Place(tmp_path)
    (tmp_path / "apart.sh").write_text('DVC_ROOT="$ROOTS$RANK" exec python "$@"\n')
    apart = {
        "APO_LAUNCH": f"{TORCHRUN} --no-python sh apart.sh",
        "APO_CHECKPOINT_SECONDS": "0",
        "ROOTS": str(tmp_path / "root_"),
    }
    process = place.start(STAGE, "two", APO_LAUNCH=TORCHRUN, APO_CHECKPOINT_SECONDS="0")
    state = until_saved(process, tmp_path / "root_two", 2)
    ranks_of(process)["1"].kill()
    process.communicate(timeout=60)
    step = steps_of([state])
    assert step < 10
    for root in ("root_0", "root_1"):
        shutil.copytree(tmp_path / "root_two", tmp_path / root)
    [other] = tmp_path.glob("root_1/.cache/checkpoints/*/state.safetensors")
    with safe_open(state, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        curve = json.loads(opened.metadata()["curve"])
    curve[-1]["loss"] += 1.0
    save_file(tensors, other, metadata={"curve": json.dumps(curve)})
    for second in (step, 0):  # another state of the same step, and none
        found = rf"step {step} \(digest \w+\) by rank 0, step {second} \(digest \w+\) by rank 1"
        process = place.start(STAGE, "two", **apart)
        said = process.communicate(timeout=900)[0]
        assert process.returncode == 1
        message = (
            f"^error: .*: found different saved states: {found}; "
            "expected the same state in all ranks; check that all machines share the disk"
        )
        assert re.search(message, error_of(said)), said
        assert "RuntimeError" not in said and not list(tmp_path.glob("two*"))
        other.unlink(missing_ok=True)
