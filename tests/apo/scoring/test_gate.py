"""gate.py, rm_calibration.py: what an RM stage writes of its calibration, and where `score` stops."""

import csv
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForSequenceClassification

import stages.score
import stages.test_rm
import stages.train_apo_rm
import stages.train_base_rm
from apo.core.errors import UserError
from apo.core.records import read_rows, write_json, write_rows
from apo.evaluation.evaluate_rm import Measured, measure
from apo.evaluation.rm_calibration import after_temperature, calibrate
from apo.metrics.calibration import both_orders, calibration_error
from apo.metrics.pairs import pair_counts, pair_metrics, pairs_of
from apo.model.checkpoint import load_reward_model
from apo.scoring.gate import check_calibration
from tests.helpers import tiny_models as tiny

ROOT = Path(__file__).parents[3]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
WORDS = ["good", "bad", "3", "7", "dog", "fox", "lazy", "day", "my friend", "nobody"]
SIZES = {"rm_train": 24, "llm_train": 4, "rm_valid": 20, "test": 12}

# The record, and the gate


def valid(scores: list[list[float]], rewards: list[list[float]], bins: list[int]) -> Measured:
    """Rewards as if they were measured on valid."""
    chosen, rejected = pairs_of(rewards, scores)
    ece = {f"ece_{n}": calibration_error(*both_orders(chosen, rejected), n).ece for n in bins}
    return Measured(ece, [], chosen, rejected, pair_counts(scores))


def test_the_record_by_hand() -> None:
    # Eight comparisons of margin 4 ln 3, six of them right: T = 4, and p = 81/82 where 3/4 is true. A ninth
    # has no pair.
    m = 4 * math.log(3)
    scores = [[1.0, 0.0]] * 8 + [[1.0, 1.0]]
    rewards = [[m, 0.0]] * 6 + [[0.0, m]] * 2 + [[9.0, 0.0]]
    record = calibrate(valid(scores, rewards, [4, 10]), bins=[4, 10], seed=1, resamples=400, desc="rm")
    assert record["fitted_on"] == "valid"
    assert (record["comparisons"], record["pairs"]) == (8, 8)
    assert record["temperature"] == pytest.approx(4.0)
    assert record["temperature_bounded"] == 0
    for bins in (4, 10):
        assert record[f"ece_{bins}"] == pytest.approx(81 / 82 - 3 / 4)
        assert record[f"ece_{bins}_low"] < record[f"ece_{bins}"] < record[f"ece_{bins}_high"]
        # By chance one of eight is lost: |81/82 - 7/8|; two are in 0.4 % of all draws.
        assert record[f"ece_{bins}_by_chance"] == pytest.approx(81 / 82 - 7 / 8)


def test_what_has_no_optimum_is_counted_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    scores, rewards = [[2.0, 1.0, 0.0]], [[3.0, 2.0, 1.0]]
    record = calibrate(valid(scores, rewards, [10]), bins=[10], seed=1, resamples=100, desc="apo_rm")
    assert (record["temperature"], record["temperature_bounded"]) == (0.01, 1)
    assert (record["comparisons"], record["pairs"]) == (1, 3)
    assert "ece_10" in record and "ece_10_low" not in record  # no interval of a single comparison
    told = capsys.readouterr().err
    assert told.startswith("apo_rm: the temperature fitted on valid is 0.01, the lowest tried")
    assert told.count("\n") == 1


RECORD = {"pairs": 482, "ece_10": 0.2, "ece_10_low": 0.17, "ece_10_high": 0.26, "ece_10_by_chance": 0.05}


def gate(record: Any, limit: float, bins: int = 10) -> dict[str, Any]:
    return check_calibration("apo_r1", Path("models/rm_apo/r1"), record, limit=limit, bins=bins)


def test_the_gate_stops_above_the_limit_only() -> None:
    assert gate(RECORD, 0.21) == {"max_ece": 0.21, "valid_ece": 0.2}
    assert gate(RECORD, 0.2) == {"max_ece": 0.2, "valid_ece": 0.2}
    with pytest.raises(UserError) as error:
        gate(RECORD, 0.199)
    assert str(error.value) == (
        "models/rm_apo/r1, of apo_r1: found an ECE of 0.200 on valid (10 bins, 482 pairs, 95 % interval "
        "0.170 to 0.260, up to 0.050 by chance alone); expected at most 0.199, `rm.max_ece`, before a "
        "language model learns from it; look at reliability.csv of its stage in metrics/curves; train it for "
        "fewer `rm.epochs` or with a smaller `rm.lr`; or raise `rm.max_ece` (1.0 lets every reward "
        "model pass)"
    )


def test_few_pairs_are_told() -> None:
    for record in (RECORD | {"ece_10_by_chance": 0.19}, {"pairs": 1, "ece_10": 0.2}):
        with pytest.raises(UserError, match=r"raise `split\.valid_fraction`: so few pairs can't show"):
            gate(record, 0.1)


@pytest.mark.parametrize(
    ("record", "known"),
    [
        (None, "none"),  # a checkpoint of somebody else
        ("text", "none"),
        ({"fitted_on": "nothing"}, "none"),
        ({"pairs": 3, "ece_5": 0.1, "ece_5_low": 0.0, "ece_20": 0.1}, "5, 20"),
        (RECORD | {"ece_10": math.nan}, "10"),  # nan > limit is false
        (RECORD | {"ece_10": None}, "10"),
    ],
)
def test_without_an_ece_nothing_passes_but_an_open_gate(record: Any, known: str) -> None:
    with pytest.raises(
        UserError, match=rf"rm_apo/r1/config\.json: found no ECE .* 10 bins, but with {known};"
    ):
        gate(record, 0.99)
    assert gate(record, 1.0) == {"max_ece": 1.0}


def test_an_open_gate_lets_all_pass() -> None:
    assert gate(RECORD | {"ece_10": 1.0}, 1.0) == {"max_ece": 1.0, "valid_ece": 1.0}


def test_a_temperature_would_let_random_rewards_pass() -> None:
    """Why the gate looks at the error before it."""
    rng = np.random.default_rng(1)
    scores = [[1.0, 0.0]] * 2000
    measured = valid(scores, rng.normal(0, 6, size=(2000, 2)).tolist(), [10])
    record = calibrate(measured, bins=[10], seed=1, resamples=100, desc="rm")
    after, _ = after_temperature(measured, record["temperature"], bins=[10])
    limit = PARAMS["rm"]["max_ece"]
    assert pair_metrics(measured.chosen, measured.rejected)["accuracy"] == pytest.approx(0.5, abs=0.05)
    assert record["ece_10"] > 0.4 > limit > 0.05 > after["ece_10"]
    with pytest.raises(UserError, match=r"found an ECE of 0\.4"):
        gate(record, limit)


def test_the_limit_of_the_repository_passes_its_demo_and_has_its_bins() -> None:
    assert PARAMS["rm"]["max_ece_bins"] in PARAMS["rm"]["calibration_bins"]
    files = [json.loads(path.read_text()) for path in (ROOT / "metrics").rglob("train_*.json")]
    measured = [found["valid"]["ece_10"] for content in files for found in content.values()]
    assert len(measured) >= 2 and max(measured) < 0.75 * PARAMS["rm"]["max_ece"]


# The stages


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a backbone, comparisons and samples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    tiny.backbone(Path("models/backbone"))
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        rows = []
        for number in range(size):
            words = [str(word) for word in rng.permutation(WORDS)[:3]]
            scores = [2.0, 1.0, 1.0] if number % 2 else [1.0, 0.0, 0.0]
            rows.append(
                {
                    "query": tiny.query(f"{name} {number}?"),
                    "responses": words,
                    "scores": scores,
                    "type": "",
                }
            )
        write_rows(Path(f"data/split/{name}.jsonl"), rows)
    query = tiny.query("Who?")
    samples = [{"query_id": "a", "query": query, "samples": ["me", "you"]}]
    write_rows(Path("data/samples/llm.jsonl"), samples)
    pair = {"query": query, "responses": ["me", "you"], "scores": [1.0, 0.0], "type": "apo"}
    write_rows(Path("data/apo/rm.jsonl"), [pair])
    write_json(Path("data/raw/truth.json"), {})
    set_params()
    return tmp_path


def set_params(**rm: Any) -> None:
    params = {"seed": 1, "model": PARAMS["model"] | {"max_length": 64}, "score": PARAMS["score"]}
    params["rm"] = PARAMS["rm"] | {"warmup_steps": 0, "calibration_bins": [5, 10], "bootstrap": 100} | rm
    params["apo"] = PARAMS["apo"] | {"init_from": "base_rm"}
    Path("params.yaml").write_text(json.dumps(params))


def split(name: str) -> Path:
    return Path(f"data/split/{name}.jsonl")


def outputs(name: str, stage: str) -> dict[str, Path]:
    return {
        "truth": Path("data/raw/truth.json"),
        "out": Path(f"models/{name}"),
        "curves": Path(f"metrics/curves/{stage}"),
        "metrics": Path(f"metrics/{stage}.json"),
    }


def train_base() -> dict[str, Any]:
    """Trains `models/rm_base`; its metrics."""
    stages.train_base_rm.main(
        backbone=Path("models/backbone"),
        train=split("rm_train"),
        valid=split("rm_valid"),
        test=split("test"),
        **outputs("rm_base", "train_base_rm"),
    )
    found: dict[str, Any] = json.loads(Path("metrics/train_base_rm.json").read_text())["base_rm"]
    return found


def score(rm: str = "base") -> dict[str, Any]:
    out, metrics = Path(f"data/scores/{rm}.jsonl"), Path(f"metrics/score_{rm}.json")
    stages.score.main(f"{rm}_r1", Path(f"models/rm_{rm}"), Path("data/samples/llm.jsonl"), out, metrics)
    found: dict[str, Any] = json.loads(metrics.read_text())[f"score_{rm}_r1"]
    return found


def curve(name: str) -> list[dict[str, str]]:
    with Path(f"metrics/curves/train_base_rm/{name}.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_an_rm_is_measured_before_and_after_the_temperature_of_valid(repository: Path) -> None:
    found = train_base()
    model = load_reward_model(Path("models/rm_base")).eval()
    on = {
        name: measure(model, split(name), truth=Path("data/raw/truth.json"), bins=[5, 10], desc="")
        for name in ("rm_valid", "test")
    }
    expected = calibrate(on["rm_valid"], bins=[5, 10], seed=1, resamples=100, desc="base_rm")
    assert found["calibration"].pop("fitted_on") == expected.pop("fitted_on") == "valid"
    assert found["calibration"] == pytest.approx(expected, rel=1e-3)
    assert expected["pairs"] == 2 * SIZES["rm_valid"] == 2 * expected["comparisons"]
    chosen, rejected = on["test"].chosen, on["test"].rejected
    temperature = found["calibration"]["temperature"]
    p = 1 / (1 + np.exp(-(chosen - rejected) / temperature))
    after = found["test"]["calibrated"]
    assert after["nll"] == pytest.approx(-np.log(p).mean(), rel=1e-4)
    assert after["brier"] == pytest.approx(((1 - p) ** 2).mean(), rel=1e-4)
    labels = [1.0] * p.size + [0.0] * p.size
    ece = calibration_error(labels, np.concatenate([p, 1 - p]), 10).ece
    assert after["ece_10"] == pytest.approx(ece, abs=1e-3)
    kinds = [
        f"{kind}{side}_{n}" for kind in ("ece", "ace", "mce") for side in ("", "_onesided") for n in (5, 10)
    ]
    assert after.keys() == {"nll", "brier", *kinds}
    assert "calibrated" not in found["valid"]  # where it was fitted it says nothing
    assert found["test"]["nll"] == pytest.approx(on["test"].metrics["nll"], rel=1e-4)

    raw, scaled = curve("reliability"), curve("reliability_calibrated")
    assert raw[0].keys() == scaled[0].keys()
    assert {row["split"] for row in raw} == {"test", "valid"}
    assert {row["split"] for row in scaled} == {"test"}
    # The bins of the scaled one hold sigma(|m| / T): five of width 0.1 from 0.5 on.
    sides = np.histogram(np.maximum(p, 1 - p), np.linspace(0.5, 1.0, 6))[0]
    assert [int(row["count"]) for row in scaled] == sides.tolist()
    assert sum(int(row["count"]) for row in scaled) == p.size


def test_the_checkpoint_tells_the_temperature_and_gives_the_rewards_as_they_stand(repository: Path) -> None:
    found = train_base()
    config = json.loads(Path("models/rm_base/config.json").read_text())
    assert config["apo_calibration"] == found["calibration"]
    assert config["apo"].keys() == {"max_length", "pooling", "separator", "truncation_side"}
    ours = load_reward_model(Path("models/rm_base"))
    stock = AutoModelForSequenceClassification.from_pretrained("models/rm_base", trust_remote_code=False)
    row = next(iter(read_rows(split("test"))))
    [item] = ours.encoder.items([(row["query"], row["responses"])], Counter(), where="")
    ids = [torch.tensor([item.prefix + response]) for response in item.responses]
    with torch.no_grad():
        rewards = [stock(input_ids=one).logits[0, 0].item() for one in ids]
        assert ours.rewards([item])[0].tolist() == pytest.approx(rewards, abs=1e-5)
    card = Path("models/rm_base/README.md").read_text(encoding="utf-8")
    temperature, after = found["calibration"]["temperature"], found["test"]["calibrated"]
    assert (
        f"fits the 40 pairs of valid best is {temperature:.4f}: sigmoid((a - b) / {temperature:.4f})" in card
    )
    assert f"log-likelihood of {after['nll']:.4f} and an expected calibration error" in card
    assert f"5 bins {after['ece_5']:.4f}, 10 bins {after['ece_10']:.4f}" in card


def test_the_testing_rm_has_no_temperature_and_says_so(repository: Path) -> None:
    stages.test_rm.main(
        backbone=Path("models/backbone"),
        rm_train=split("rm_train"),
        llm_train=split("llm_train"),
        valid=split("rm_valid"),
        test=split("test"),
        **outputs("rm_test", "test_rm"),
    )
    found = json.loads(Path("metrics/test_rm.json").read_text())["test_rm"]
    assert found["calibration"] == {"fitted_on": "nothing"}
    assert "calibrated" not in found["test"]
    assert "apo_calibration" not in json.loads(Path("models/rm_test/config.json").read_text())
    assert not Path("metrics/curves/test_rm/reliability_calibrated.csv").exists()
    assert "No temperature was fitted" in Path("models/rm_test/README.md").read_text(encoding="utf-8")


def test_an_rm_that_starts_from_another_has_its_own_record(repository: Path) -> None:
    base = train_base()
    stages.train_apo_rm.main(
        round="r1",
        backbone=Path("models/backbone"),
        base_rm=Path("models/rm_base"),
        previous=Path("models/rm_apo/r0"),
        train=split("rm_train"),
        adversarial=Path("data/apo/rm.jsonl"),
        valid=split("rm_valid"),
        test=split("test"),
        **outputs("rm_apo", "train_apo_rm"),
    )
    found = json.loads(Path("metrics/train_apo_rm.json").read_text())["apo_rm_r1"]["calibration"]
    assert json.loads(Path("models/rm_apo/config.json").read_text())["apo_calibration"] == found
    assert found["ece_10"] != base["calibration"]["ece_10"]
    # And one that is fitted on nothing keeps nothing of what it started from.
    stages.test_rm.main(
        backbone=Path("models/rm_base"),
        rm_train=split("rm_train"),
        llm_train=split("llm_train"),
        valid=split("rm_valid"),
        test=split("test"),
        **outputs("rm_test", "test_rm"),
    )
    assert "apo_calibration" not in json.loads(Path("models/rm_test/config.json").read_text())


def test_score_stops_before_it_scores_and_passes_below_the_limit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ece = train_base()["calibration"]["ece_10"]
    assert 0 < ece < 1
    set_params(max_ece=ece + 1e-9)
    passed = score()
    assert (passed["max_ece"], passed["valid_ece"]) == (ece + 1e-9, ece)
    scores = Path("data/scores/base.jsonl").read_bytes()
    set_params(max_ece=1.0, max_ece_bins=7)
    assert score() == {name: value for name, value in passed.items() if name != "valid_ece"} | {
        "max_ece": 1.0
    }
    assert Path("data/scores/base.jsonl").read_bytes() == scores  # the limit touches no score

    for path in (Path("data/scores/base.jsonl"), Path("metrics/score_base.json")):
        path.unlink()
    monkeypatch.setattr(stages.score, "score_samples", lambda *_, **__: pytest.fail("scored"))
    set_params(max_ece=ece - 1e-9)
    with pytest.raises(UserError, match=r"^models/rm_base, of base_r1: found an ECE of .* on valid"):
        score()
    set_params(max_ece=0.999, max_ece_bins=7)
    with pytest.raises(UserError, match=r"no ECE on valid with 7 bins, but with 5, 10; "):
        score()
    assert not Path("data/scores/base.jsonl").exists() and not Path("metrics/score_base.json").exists()
