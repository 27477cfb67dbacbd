"""A stage that trains under a launcher: started twice, killed, gone on with, and what it leaves."""

import json
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from apo.model.checkpoint import load_reward_model
from apo.scoring.rewards import rewards_of
from tests.apo.training.test_engines import config_of
from tests.helpers.torchrun import TORCHRUN, Place, comparisons

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
STAGE = "train_base_rm"


def steps_of(state: list[Path]) -> int:
    """Steps that a training has saved."""
    if not state:
        return 0
    with safe_open(state[0], framework="pt") as opened:
        return len(json.loads(opened.metadata()["curve"]))


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
    while steps_of(list(tmp_path.glob("root_two/.cache/checkpoints/*/state.safetensors"))) < 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    ranks = {p.environ()["RANK"]: p for p in family if "RANK" in p.environ()}
    assert ranks.keys() == {"0", "1"}
    for rank in ranks.values():
        rank.suspend()
    second = place.start(STAGE, "two", **two)
    assert "another process that runs this stage" in second.communicate(timeout=240)[0].splitlines()[-1]
    assert second.returncode == 1
    began = time.monotonic()
    ranks["1"].kill()
    ranks["0"].resume()
    last = process.communicate(timeout=60)[0].splitlines()[-1]
    assert process.returncode == 1 and time.monotonic() - began < 60
    assert last.startswith("error: APO_LAUNCH: found rank 1 killed by SIGKILL"), last
    assert not list(tmp_path.glob("two*"))
    assert not psutil.wait_procs(family, timeout=10)[1]

    # Run again, it goes on and ends as one process does.
    said = place.ran(STAGE, "two", **two)
    assert "base_rm: goes on after step" in said
    one, again = place.curve("one"), place.curve("two")
    assert len(one) == len(again) == 10
    for theirs, ours in zip(one, again, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    card = (tmp_path / "two" / "README.md").read_text(encoding="utf-8")
    assert '- `engine`: "deepspeed"\n' in card and "- `processes`: 2\n" in card
    assert "`engine`" not in (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    saved = [place.metrics(name)["train_base_rm"]["saved"] for name in ("one", "two")]
    assert saved[0] == saved[1] and saved[0]["rows_compared"] == 19

    # The checkpoint is whole and opens with transformers alone, with the rewards of the other.
    wanted = load_reward_model(tmp_path / "one").eval()
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "two").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "two")
    texts = [(row["query"], row["responses"]) for row in comparisons(6)]
    items = list(wanted.encoder.items(texts, Counter(), where=""))
    for item, rewards in zip(items, rewards_of(wanted, items, what=""), strict=True):
        for response, reward in zip(item.responses, rewards, strict=True):
            with torch.no_grad():
                found = model(torch.tensor([item.prefix + response])).logits[0, 0].item()
            assert found == pytest.approx(reward, abs=1e-4)
    assert len(tokenizer) == model.config.vocab_size
