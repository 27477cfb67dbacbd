"""apo/plots: the curves of all models in one folder, and the tables that are drawn, by hand."""

from pathlib import Path

import pytest

from apo.errors import UserError
from apo.measuring.intervals import wilson_interval
from apo.plots.gathering import gather
from apo.plots.joining import COLUMNS, POINTS, by_measure, join, models_of, reliability, thinned
from apo.tables import read_csv, write_csv


def table(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_round_is_put_beside_those_before_it(tmp_path: Path) -> None:
    curve = table(tmp_path / "actor.csv", "step,loss\n1,2\n")
    rm, payoff = tmp_path / "rm", tmp_path / "payoff"
    table(rm / "training.csv", "step,loss\n1,0.7\n")
    table(rm / "findings.jsonl", "{}\n")
    table(payoff / "truth.csv", "reward\n1\n")
    gather(tmp_path / "r0", {"actor": [curve], "base_rm": [rm, payoff]})
    r0 = {
        "actor/training.csv": "step,loss\n1,2\n",
        "base_rm/training.csv": "step,loss\n1,0.7\n",
        "base_rm/truth.csv": "reward\n1\n",
    }
    assert files(tmp_path / "r0") == r0

    newer = tmp_path / "newer"
    table(newer / "truth.csv", "reward\n2\n")
    gather(tmp_path / "r1", {"base_rm": [newer], "llm": [curve]}, before=tmp_path / "r0")
    assert files(tmp_path / "r1") == r0 | {
        "base_rm/truth.csv": "reward\n2\n",
        "llm/training.csv": "step,loss\n1,2\n",
    }
    gather(tmp_path / "r1", {"llm": [curve]}, before=tmp_path / "r0")  # nothing of an earlier run stays
    assert files(tmp_path / "r1") == r0 | {"llm/training.csv": "step,loss\n1,2\n"}
    assert not list(tmp_path.glob("*.tmp"))


def test_curves_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.csv: found no such file or folder; .*dvc repro"):
        gather(tmp_path / "r0", {"actor": [tmp_path / "gone.csv"]})
    with pytest.raises(UserError, match=r"r0: found no such file or folder"):
        gather(tmp_path / "r1", {}, before=tmp_path / "r0")
    assert not (tmp_path / "r0").exists() and not (tmp_path / "r1").exists()
    with pytest.raises(UserError, match=r"gone\.csv: found no such file"):
        read_csv(tmp_path / "gone.csv")


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [{"a": 0.1, "b": "x"}, {"a": None, "c": 3}], ["b", "z"])
    assert (tmp_path / "t.csv").read_text() == "b,z,a,c\nx,,0.1,\n,,,3.0\n"
    assert read_csv(tmp_path / "t.csv")[0] == {"b": "x", "z": "", "a": "0.1", "c": ""}
    write_csv(tmp_path / "none.csv", [], ["a", "b"])
    assert (tmp_path / "none.csv").read_text() == "a,b\n"
    assert read_csv(tmp_path / "none.csv") == []


def steps(losses: list[float], accuracies: dict[int, float] | None = None) -> list[dict[str, str]]:
    right = accuracies or {}
    return [
        {"step": str(n), "loss": str(loss), "accuracy": str(right.get(n, ""))}
        for n, loss in enumerate(losses, start=1)
    ]


def test_a_short_curve_stays_as_it_is() -> None:
    assert thinned(steps([3.0, 2.0], {2: 0.5})) == [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0, "accuracy": 0.5},
    ]


def test_a_long_curve_is_thinned_to_means() -> None:
    """250 steps in 100 windows of 2 and 3: 1-2, 3-5, ..., 248-250."""
    rows = thinned(steps([float(n) for n in range(1, 251)], {1: 1.0, 4: 0.5, 5: 0.0}))
    assert len(rows) == POINTS
    assert rows[0] == {"step": 2, "loss": 1.5, "accuracy": 1.0}  # step 2 has no pair of the kind
    assert rows[1] == {"step": 5, "loss": 4.0, "accuracy": 0.25}
    assert rows[-1] == {"step": 250, "loss": 249.0}
    assert sum(row["loss"] * (3 if i % 2 else 2) for i, row in enumerate(rows)) == sum(range(1, 251))


def test_a_checkpoint_that_was_not_trained_has_no_curve() -> None:
    assert thinned([{"step": "0"}]) == []


def test_reliability_on_test_alone_and_without_empty_bins() -> None:
    rows = [
        {"split": "test", "count": "4", "probability": "0.55", "frequency": "0.75"},
        {"split": "test", "count": "0", "probability": "", "frequency": ""},
        {"split": "valid", "count": "2", "probability": "0.6", "frequency": "1.0"},
    ]
    low, high = wilson_interval(3, 4)
    assert reliability(rows, kind="as trained") == [
        {"kind": "as trained", "probability": 0.55, "frequency": 0.75, "low": low, "high": high, "count": 4}
    ]


def test_rounds_by_measure() -> None:
    place = {"round": "r1", "arm": "apo", "llm": "llm_apo_r1"}
    score = {"score": "1.5", "score_low": "1.0", "score_high": "2.0"}
    true = {"true_reward": "0.0", "true_low": "-1.0", "true_high": "1.0"}
    measured = {**place, "measure": "score by testing RM", "value": "1.5", "low": "1.0", "high": "2.0"}
    assert by_measure([place | score]) == [measured]
    assert by_measure([place | score | true]) == [
        measured,
        {**place, "measure": "true reward", "value": "0.0", "low": "-1.0", "high": "1.0"},
    ]


def test_every_plot_has_the_models_that_belong_to_it(tmp_path: Path) -> None:
    for model in models_of(["r1", "r10"]):
        table(tmp_path / model / "training.csv", "step,loss\n1,0.5\n")
    for model in ("base_rm", "test_rm", "apo_rm_r1", "apo_rm_r10"):
        table(tmp_path / model / "rewards.csv", "kind,reward,count,share\nchosen,0.5,1,1.0\n")
        bins = "split,lower,upper,count,probability,frequency\ntest,0.5,0.6,4,0.55,0.75\n"
        table(tmp_path / model / "reliability.csv", bins)
        if model != "test_rm":
            table(tmp_path / model / "reliability_calibrated.csv", bins)
    header = "round,arm,llm,score,score_low,score_high\n"
    played = [f"{r},base,llm_base_{r},1,0,2\n" for r in ("r0", "r10", "r1")]  # as names sort
    table(tmp_path / "test_rm" / "rounds.csv", header + "".join(played))

    tables = join(tmp_path, ["r1", "r10"])
    assert tables.keys() == COLUMNS.keys()
    models = {name: [row["model"] for row in rows] for name, rows in tables.items()}
    rms = ["base_rm", "test_rm", "apo_rm_r1", "apo_rm_r10"]
    assert models["rm_training"] == models["rewards"] == rms
    assert models["reliability"] == [*rms, "base_rm", "apo_rm_r1", "apo_rm_r10"]
    assert [row["kind"] for row in tables["reliability"]][3:5] == ["as trained", "at its temperature"]
    assert models["llm_training"] == [
        *("backbone", "actor", "llm_base_r1", "llm_apo_r1", "llm_base_r10", "llm_apo_r10")
    ]
    assert [row["round"] for row in tables["rounds"]] == ["r0", "r1", "r10"]
    assert tables["truth"] == tables["margins"] == []
