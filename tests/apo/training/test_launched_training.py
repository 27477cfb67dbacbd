"""A stage that trains under a launcher: started twice, killed, gone on with, and what it leaves."""

import json
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from apo.model.checkpoint import load_reward_model
from apo.scoring.rewards import rewards_of
from tests.apo.training.test_engines import config_of
from tests.helpers.torchrun import TORCHRUN, Place, comparisons, error_of

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


def test_a_launched_training(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.ran(STAGE, "one")
    two = {
        "APO_LAUNCH": TORCHRUN,
        "APO_DEEPSPEED": config_of("zero3", tmp_path),
        "APO_CHECKPOINT_SECONDS": "0",
        "APO_TOKEN_BUDGET": "200",
    }

    # Two launches on one output, and a rank that dies.
    process = place.start(STAGE, "two", **two)
    until_saved(process, tmp_path / "root_two", 2)
    family = psutil.Process(process.pid).children(recursive=True)
    ranks = ranks_of(process)
    assert ranks.keys() == {"0", "1"}
    for rank in ranks.values():
        rank.suspend()
    second = place.start(STAGE, "two", **two)
    assert "another process that runs this stage" in error_of(second.communicate(timeout=240)[0])
    assert second.returncode == 1
    began = time.monotonic()
    ranks["1"].kill()
    ranks["0"].resume()
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and time.monotonic() - began < 60
    # Rank 0 says so, if the launcher does not end it before it looks.
    assert "rank 0: another rank has ended" in said or "closing signal SIGTERM" in said, said
    assert "RuntimeError" not in said, said
    assert re.search(r"rank +: 1 .*exitcode +: -9", said, flags=re.DOTALL), said  # torchrun says which
    assert not list(tmp_path.glob("two*"))
    assert not psutil.wait_procs(family, timeout=10)[1]

    # Run again, it goes on and ends as one process does. Two ranks add gradients in another order, and Adam
    # lets the last digits grow from step to step: one process with APO_TOKEN_BUDGET=200 comes to 1e-5 in the
    # losses, 5e-5 in the weights and 5e-4 in the rewards; with the scores of one row exchanged, 0.5, 0.04, 9.
    said = place.ran(STAGE, "two", **two)
    assert said.count("base_rm: resumes after step") == 1
    one, again = place.curve("one"), place.curve("two")
    assert len(one) == len(again) == 10
    for theirs, ours in zip(one, again, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=5e-5)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert first.keys() == second.keys()
    for name, weight in first.items():  # to a tenth of one step of Adam, whose lr is 5e-3
        assert (second[name] - weight).abs().max() < 5e-4, name
    card = (tmp_path / "two" / "README.md").read_text(encoding="utf-8")
    assert '- `engine`: "deepspeed"\n' in card and "- `processes`: 2\n" in card
    assert "`engine`" not in (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    saved = [place.metrics(name)["train_base_rm"]["saved"] for name in ("one", "two")]
    assert saved[0] == saved[1] and saved[0]["rows_compared"] == 19

    # The checkpoint is whole and opens with transformers alone, with the rewards that we read from it.
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "two").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "two")
    texts = [(row["query"], row["responses"]) for row in comparisons(6)]
    loaded, wanted = (load_reward_model(tmp_path / name).eval() for name in ("two", "one"))
    items = list(loaded.encoder.items(texts, Counter(), where=""))
    of_one = rewards_of(wanted, items, desc="")
    for item, rewards, of_other in zip(items, rewards_of(loaded, items, desc=""), of_one, strict=True):
        assert rewards == pytest.approx(of_other, abs=2e-3)
        for response, reward in zip(item.responses, rewards, strict=True):
            with torch.no_grad():
                found = model(torch.tensor([item.prefix + response])).logits[0, 0].item()
            assert found == pytest.approx(reward, abs=1e-5)
    assert len(tokenizer) == model.config.vocab_size


@pytest.mark.parametrize("engine", ["ddp", "zero3"])
def test_a_rank_that_stands_still_ends_all_at_the_time_limit(engine: str, tmp_path: Path) -> None:
    """Under ZeRO the ranks wait for each other in a group that DeepSpeed makes."""
    place = Place(tmp_path)
    environment = {"APO_LAUNCH": TORCHRUN, "APO_CHECKPOINT_SECONDS": "0", "APO_COLLECTIVE_TIMEOUT": "60"}
    if engine == "zero3":
        environment["APO_DEEPSPEED"] = config_of("zero3", tmp_path)
    process = place.start(STAGE, "two", **environment)
    until_saved(process, tmp_path / "root_two", 1)
    ranks_of(process)["1"].suspend()
    began = time.monotonic()
    said = process.communicate(timeout=900)[0]
    assert process.returncode == 1
    assert time.monotonic() - began > 40
    assert error_of(said).startswith(
        "error: APO_COLLECTIVE_TIMEOUT: found rank 0 waiting for another one for 60 seconds; expected"
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
