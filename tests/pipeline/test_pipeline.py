"""The pipeline as a user runs it: `dvc` itself, on a world and models so small that a run takes a minute."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.played_repo import OF_TWO, dvc, ran, stages
from tests.helpers.small_repo import change_params, copy_repository, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # whole games, on a busy machine too

AFTER_APO = {
    *("train_apo_rm@round0", "evaluate_apo_rm@round0", "score@round0", "rjs@round0-apo", "align@round0-apo"),
    *("answer@round0-apo", "evaluate@round0", "payoff@round0", "judge", "tables@round0", "plots"),
}


def test_environment_changes_no_stage(played: Path) -> None:
    """Nothing changed: processes, engine and precision come from the environment, and dvc runs nothing."""
    where = {"APO_LAUNCH": "torchrun --standalone --nproc_per_node 2", "APO_DEEPSPEED": "configs/zero3.json"}
    assert ran(dvc(played, "repro", **where, APO_PRECISION="bf16")) == set()


def test_metrics_are_finite_numbers_under_unique_keys(played: Path) -> None:
    keys: list[str] = []
    for path in sorted((played / "metrics").rglob("*.json")):
        if not path.is_relative_to(played / "metrics/tables"):
            keys += json.loads(path.read_text(), parse_constant=pytest.fail)
    assert len(keys) == len(set(keys)) == sum(bool(stage["metrics"]) for stage in stages(played).values())


def test_repro_exp_run_and_metrics_diff_work(played: Path) -> None:
    """A changed coefficient runs what depends on it, shows in the metrics, and set back runs none."""
    path = played / "metrics/r1/train_apo_rm.json"
    before = json.loads(path.read_text())["train_apo_rm_r1"]["train"]["final_loss"]
    again = ran(dvc(played, "exp", "run", "-S", "apo.coeff=0.05"))
    # If both RMs rate the same sample best, the LLM is the same, and nothing after it runs.
    assert AFTER_APO - {"answer@round0-apo", "judge"} <= again <= AFTER_APO
    assert json.loads(path.read_text())["train_apo_rm_r1"]["train"]["final_loss"] != before
    assert "train_apo_rm_r1.train.final_loss" in dvc(played, "metrics", "diff")
    assert not ran(dvc(played, "exp", "run", "-S", "apo.coeff=0.1"))
    assert json.loads(path.read_text())["train_apo_rm_r1"]["train"]["final_loss"] == before


def test_a_second_round_reuses_the_first_and_one_round_runs_nothing(played: Path) -> None:
    """Only the stages of the new round run, and what looks at the whole game."""
    dvc(played, "exp", "apply", "two")
    looks = {"start", "payoff@round0", "judge", "tables@round0", "plots"}
    two = ran((played.parent / OF_TWO).read_text(encoding="utf-8"))
    assert two == {name for name in stages(played) if "@round1" in name} | looks
    evaluated = json.loads((played / "metrics/r2/evaluate.json").read_text())["evaluate_r2"]
    assert {
        "llm_apo_r2_vs_llm_base_r2",
        "llm_apo_r2_vs_llm_apo_r1",
        "llm_base_r2_vs_actor",
    } <= evaluated.keys()
    assert "llm_apo_r1_vs_llm_base_r1" not in evaluated  # round r1 has it
    llms = {"actor", "golden", "llm_base_r1", "llm_apo_r1", "llm_base_r2", "llm_apo_r2"}
    payoff = [json.loads((played / f"metrics/r{n}/payoff.json").read_text())[f"payoff_r{n}"] for n in (1, 2)]
    assert [rows.keys() for rows in payoff] == [{"base_rm", "apo_rm_r1"}, {"base_rm", "apo_rm_r2"}]
    assert all(row.keys() == llms for rows in payoff for row in rows.values())
    assert payoff[0]["base_rm"] == payoff[1]["base_rm"]
    assert not ran(dvc(played, "exp", "run", "-S", "rounds=[{id:r1,prev:r0}]"))


def test_rounds_that_do_not_chain_end_before_the_first_one(played: Path) -> None:
    rounds = [{"id": "r1", "prev": "r0"}, {"id": "r3", "prev": "r0"}]
    change_params(played / "params.yaml", {"rounds": rounds})
    done = run(["dvc", "repro"], played)
    assert done.returncode != 0
    assert "error: params.yaml: rounds[1]: found round 'r3' after 'r0'; expected a new id" in done.stderr
    assert ran(done.stdout + done.stderr) == {"start"}
    assert "Traceback" not in done.stderr


def test_the_gate_ends_the_run_before_scoring_and_trains_nothing(played: Path) -> None:
    change_params(played / "params.yaml", {"gate": {"max_ece": 0.0}})
    done = run(["dvc", "repro"], played)
    assert done.returncode != 0
    assert len(ran(done.stdout)) == 1 and ran(done.stdout) <= {"score_base@round0", "score@round0"}
    assert re.search(r"^error: models/rm_[\w/]+: found an ECE of 0", done.stderr, flags=re.MULTILINE)
    assert "Traceback" not in done.stderr
    # An open gate again, at another limit: scored, and as before, so only what tells it runs.
    change_params(played / "params.yaml", {"gate": {"max_ece": 0.999}})
    assert ran(dvc(played, "repro")) == {"score_base@round0", "score@round0"}


def test_other_bins_train_and_score_nothing_again(played: Path) -> None:
    """What is measured of a reward model is changed without training it again; the gate is asked again."""
    change_params(played / "params.yaml", {"evaluate_rm": {"calibration_bins": [10, 15]}})
    would = ran(dvc(played, "repro", "--dry"))
    evaluations = {"evaluate_base_rm", "evaluate_apo_rm@round0", "evaluate_test_rm"}
    assert evaluations <= would
    again = ran(dvc(played, "repro", "evaluate_apo_rm@round0", "--single-item", "--force"))
    assert again == {"evaluate_apo_rm@round0"}
    metrics = json.loads((played / "metrics/r1/evaluate_apo_rm.json").read_text())["apo_rm_r1"]
    assert "ece_15" in metrics["test"] and "ece_5" not in metrics["test"]
    assert not {
        name for name in would if name.startswith(("train_", "test_rm", "backbone", "actor", "sample"))
    }


def test_lineage_of_the_last_model_goes_back_to_the_data(played: Path) -> None:
    lineage = ["python", "-m", "apo.lineage", "models/llm_apo/r1"]
    done = run(lineage, played)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in (
        "align@round0-apo",
        "rjs@round0-apo",
        "score@round0",
        "train_apo_rm@round0",
        "split",
        "data",
    ):
        assert f"stage {stage}\n" in done.stdout, stage
    assert "start" in done.stdout and "stage align@round0-base" not in done.stdout
    row = (played / "data/rjs/r1/apo.jsonl").read_text(encoding="utf-8")
    (played / "data/rjs/r1/apo.jsonl").unlink()
    (played / "data/rjs/r1/apo.jsonl").write_text(row.replace("e", "f", 1), encoding="utf-8")
    done = run(lineage, played)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("data/rjs/r1/apo.jsonl: modified, stage ")


def test_error_ends_the_run_with_one_line(played: Path) -> None:
    change_params(played / "params.yaml", {"rm": {"lr": -1.0}})
    done = run(["dvc", "repro"], played)
    assert done.returncode != 0
    assert "error: params.yaml: rm.lr: found -1.0; expected" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_game_plays_on_files_and_checkpoints_of_the_user(tmp_path: Path, played: Path) -> None:
    """Comparisons, golden answers, samples and models of others play the whole game."""
    repository = copy_repository(
        tmp_path / "repository",
        {
            "data": {
                "source": "files",
                "files": {
                    "comparisons": ["pairs.json"],
                    "golden": ["golden.json"],
                    "samples": ["samples.json"],
                    "demonstrations": ["samples.json"],
                },
            },
            "split": {"test_fraction": 0.25, "without_golden": "skip"},
            "backbone": {"start": "pretrained/backbone"},
            "actor": {"start": "pretrained/actor"},
            "sample": {"common": {"origin": "source"}},
            "convert": {"short_samples": "keep"},
            "model": {"pooling": "average", "separator": "<sep>"},
            "rm": {"eval_steps": 2},
        },
    )
    for name in ("backbone", "actor"):
        shutil.copytree(played / "models" / name, repository / "pretrained" / name)
    export = ["python", "-m", "apo.export", "--to", "authors"]
    for source, target in (("comparisons", "pairs"), ("golden", "golden")):
        path = str(repository / f"data/input/{target}.json")
        done = run([*export, str(played / f"data/raw/{source}.jsonl"), path], repository)
        assert done.returncode == 0, done.stderr
    rows = json.loads((repository / "data/input/golden.json").read_text())
    samples = [
        {"query_id": row["query_id"], "query": row["query"], "sample_0": "No.", "sample_1": "I do not know."}
        for row in rows
    ]
    (repository / "data/input/samples.json").write_text(json.dumps(samples))
    output = dvc(repository, "repro")
    assert ran(output) == set(stages(repository))
    metrics = json.loads((repository / "metrics/r1/convert.json").read_text())["convert_r1"]
    split = json.loads((repository / "metrics/split.json").read_text())["split"]
    assert metrics["pairs"] == 2 * split["rm_queries"] > 0
    answered = json.loads((repository / "metrics/r1/answer_apo.json").read_text())["answer_llm_apo_r1"]
    assert "score_mean" in answered and "true_reward_mean" not in answered
    evaluated = json.loads((repository / "metrics/r1/evaluate.json").read_text())["evaluate_r1"]
    assert evaluated["llm_apo_r1_vs_llm_base_r1"].keys() == {"score"}
    measured = json.loads((repository / "metrics/evaluate_test_rm.json").read_text())["test_rm"]
    assert "truth" not in measured["test"]
    for name, model_name in (("backbone", "pretrained_here"), ("actor", "fine_tuned_here")):
        assert json.loads((repository / f"metrics/{name}.json").read_text())[name][model_name] is False
