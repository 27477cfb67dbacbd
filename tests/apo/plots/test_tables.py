"""apo/plots/tables.py: the tables that are drawn, by hand."""

from apo.metrics.statistics import wilson_interval
from apo.plots.tables import COLUMNS, MAX_POINTS, by_measure, downsample, join, reliability


def steps(losses: list[float], accuracies: dict[int, float] | None = None) -> list[dict[str, str]]:
    right = accuracies or {}
    return [
        {"step": str(n), "loss": str(loss), "accuracy": str(right.get(n, ""))}
        for n, loss in enumerate(losses, start=1)
    ]


def test_downsample_leaves_a_short_curve() -> None:
    assert downsample(steps([3.0, 2.0], {2: 0.5})) == [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0, "accuracy": 0.5},
    ]


def test_downsample_averages_a_long_curve() -> None:
    """250 steps in 100 windows of 2 and 3: 1-2, 3-5, ..., 248-250."""
    rows = downsample(steps([float(n) for n in range(1, 251)], {1: 1.0, 4: 0.5, 5: 0.0}))
    assert len(rows) == MAX_POINTS
    assert rows[0] == {"step": 2, "loss": 1.5, "accuracy": 1.0}  # step 2 has no pair of the kind
    assert rows[1] == {"step": 5, "loss": 4.0, "accuracy": 0.25}
    assert rows[-1] == {"step": 250, "loss": 249.0}
    assert sum(row["loss"] * (3 if i % 2 else 2) for i, row in enumerate(rows)) == sum(range(1, 251))


def test_downsample_of_no_steps_is_empty() -> None:
    assert downsample([{"step": "0"}]) == []


def test_reliability_is_of_test_alone_without_empty_bins() -> None:
    rows = [
        {"split": "test", "count": "4", "probability": "0.55", "frequency": "0.75"},
        {"split": "test", "count": "0", "probability": "", "frequency": ""},
        {"split": "valid", "count": "2", "probability": "0.6", "frequency": "1.0"},
    ]
    low, high = wilson_interval(3, 4)
    assert reliability(rows, kind="as trained") == [
        {"kind": "as trained", "probability": 0.55, "frequency": 0.75, "low": low, "high": high, "count": 4}
    ]


def test_by_measure_by_hand() -> None:
    place = {"round": "r1", "arm": "apo", "llm": "llm_apo_r1"}
    score = {"score": "1.5", "score_low": "1.0", "score_high": "2.0"}
    true = {"true_reward": "0.0", "true_low": "-1.0", "true_high": "1.0"}
    measured = {**place, "measure": "score by testing RM", "value": "1.5", "low": "1.0", "high": "2.0"}
    assert by_measure([place | score]) == [measured]
    assert by_measure([place | score | true]) == [
        measured,
        {**place, "measure": "true reward", "value": "0.0", "low": "-1.0", "high": "1.0"},
    ]


def test_join_gives_every_plot_its_models() -> None:
    """Two rounds, whose names don't sort as they follow each other; the last evaluation holds all of them."""
    step = [{"step": "1", "loss": "0.5"}]
    bins = [{"split": "test", "count": "4", "probability": "0.55", "frequency": "0.75"}]
    bar = [{"kind": "chosen", "reward": "0.5", "count": "1", "share": "1.0"}]
    curves = dict.fromkeys(
        ("r0/backbone", "r0/actor", "r2/align_apo", "r10/align_base", "r10/align_apo"), step
    )
    for trained, measured in (
        ("r0/train_base_rm", "r0/evaluate_base_rm"),
        ("r0/test_rm", "r0/evaluate_test_rm"),
        ("r2/train_apo_rm", "r2/evaluate_apo_rm"),
        ("r10/train_apo_rm", "r10/evaluate_apo_rm"),
    ):
        curves |= {f"{trained}/training": step, f"{measured}/reliability": bins, f"{measured}/rewards": bar}
        curves |= {f"{measured}/reliability_calibrated": bins} if trained != "r0/test_rm" else {}
    for round in ("r2", "r10"):
        for place in ("payoff/base_rm", "payoff/apo_rm", "evaluate"):
            curves[f"{round}/{place}/golden_samples"] = [bar[0] | {"kind": f"{round}/{place}"}]
    played = {"arm": "base", "score": "1", "score_low": "0", "score_high": "2"}
    curves["r10/evaluate/rounds"] = [
        {"round": r, "llm": f"llm_base_{r}", **played} for r in ("r0", "r10", "r2")
    ]
    curves["r2/evaluate/rounds"] = [{"round": "r2", "llm": "older", **played}]

    rounds = ["r2", "r10"]
    first = {name: rows for name, rows in curves.items() if not name.startswith("r10/")}
    second = {name: rows for name, rows in curves.items() if not name.startswith("r2/")}
    written = join(first, "r2", rounds=rounds, before={})
    before = {name: [{k: str(v) for k, v in row.items()} for row in rows] for name, rows in written.items()}
    tables = join(second, "r10", rounds=rounds, before=before)
    assert tables.keys() == COLUMNS.keys()
    models = {name: [row.get("model") for row in rows] for name, rows in tables.items()}
    rms = ["base_rm", "test_rm", "apo_rm_r2", "apo_rm_r10"]
    assert models["rm_training"] == models["rewards"] == rms
    assert models["reliability"] == ["base_rm", "test_rm", "base_rm", *rms[2:3] * 2, *rms[3:] * 2]
    assert [row["kind"] for row in tables["reliability"]][1:3] == ["as trained", "at its temperature"]
    assert models["llm_training"] == ["backbone", "actor", "llm_apo_r2", "llm_base_r10", "llm_apo_r10"]
    assert [(row["model"], row["kind"]) for row in tables["golden_samples"]] == [
        ("base_rm", "r10/payoff/base_rm"),
        ("test_rm", "r10/evaluate"),
        ("apo_rm_r2", "r2/payoff/apo_rm"),
        ("apo_rm_r10", "r10/payoff/apo_rm"),
    ]
    assert [row["llm"] for row in tables["rounds"]] == ["llm_base_r0", "llm_base_r2", "llm_base_r10"]
    assert tables["truth"] == tables["margins"] == []


def test_join_leaves_out_rounds_that_were_taken_out_of_the_game() -> None:
    """The last evaluation is of the rounds a and b, and b is the only one now."""
    score = {"arm": "apo", "score": "1", "score_low": "0", "score_high": "2"}
    played = [{"round": one, "llm": f"llm_apo_{one}", **score} for one in ("r0", "a", "b")]
    tables = join({"b/evaluate/rounds": played}, "b", rounds=["b"], before={})
    assert [row["round"] for row in tables["rounds"]] == ["r0", "b"]
