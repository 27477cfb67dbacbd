"""The pipeline as a user runs it: `dvc` itself, on a world and models so small that a run takes a minute."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from apo.core.provenance import SUFFIX
from ruamel.yaml import YAML

from tests.helpers.played_repo import downstream, dvc, git, ran, stages
from tests.helpers.small_repo import ROOT, change_params, copy_repository, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # whole games, on a busy machine too

AFTER_APO = {
    *("train_apo_rm@round0", "score@round0", "rjs@round0-apo", "align@round0-apo", "answer@round0-apo"),
    *("evaluate@round0", "payoff_base", "payoff@round0", "judge", "gather@round0", "report", "plots"),
}


def test_nothing_runs_when_nothing_changed(played: Path) -> None:
    assert not ran(dvc(played, "repro"))


def test_where_it_runs_is_no_parameter(played: Path) -> None:
    """Processes, engine and precision come from the environment: dvc sees no change and runs nothing."""
    where = {"APO_LAUNCH": "torchrun --standalone --nproc_per_node 2", "APO_DEEPSPEED": "configs/zero3.json"}
    assert "up to date" in dvc(played, "status", **where, APO_PRECISION="bf16")
    assert ran(dvc(played, "repro", **where, APO_PRECISION="bf16")) == set()


def test_a_stage_trained_on_two_processes(played: Path) -> None:
    """What dvc knows of its inputs stays; its outputs say on how many processes they were made."""
    before = YAML(typ="safe").load((played / "dvc.lock").read_text())["stages"]["train_base_rm"]
    repro = ["repro", "--force", "--single-item", "train_base_rm"]
    (state,) = (played / ".cache" / "checkpoints").glob("base_rm-*")
    shutil.rmtree(state)  # of one process, done
    dvc(played, *repro, APO_LAUNCH="torchrun --standalone --nproc_per_node 2", APO_DEVICE="cpu")
    shutil.rmtree(state)
    after = YAML(typ="safe").load((played / "dvc.lock").read_text())["stages"]["train_base_rm"]
    assert {key: after[key] for key in ("cmd", "deps", "params")} == {
        key: before[key] for key in ("cmd", "deps", "params")
    }
    autocast = json.loads((played / "models/rm_base.provenance.json").read_text())["arithmetic"]
    assert (autocast["engine"], autocast["processes"]) == ("ddp", 2)


def test_metrics_are_finite_numbers_under_unique_keys(played: Path) -> None:
    keys: list[str] = []
    for path in sorted((played / "metrics").rglob("*.json")):
        if path.name.endswith(SUFFIX):
            continue
        content = json.loads(path.read_text(), parse_constant=pytest.fail)
        keys += content
    assert len(keys) == len(set(keys)) == sum(bool(stage["metrics"]) for stage in stages(played).values())


def test_three_verbs(played: Path) -> None:
    """A changed coefficient runs what depends on it, shows in the metrics, and set back runs none."""
    path = played / "metrics/r1/train_apo_rm.json"
    before = json.loads(path.read_text())
    assert ran(dvc(played, "exp", "run", "-S", "apo.coeff=0.05")) == AFTER_APO
    after = json.loads(path.read_text())
    assert after["apo_rm_r1"]["train"]["final_loss"] != before["apo_rm_r1"]["train"]["final_loss"]
    assert "apo_rm_r1.train.final_loss" in dvc(played, "metrics", "diff")
    assert not ran(dvc(played, "exp", "run", "-S", "apo.coeff=0.1"))
    assert json.loads(path.read_text()) == before


def test_a_second_round_reuses_the_first_and_one_round_runs_nothing(played: Path) -> None:
    """Only the stages of the new round run, and what looks at the whole game."""
    two = dvc(played, "exp", "run", "-S", "rounds=[{id:r1,prev:r0},{id:r2,prev:r1}]")
    looks = {"start@llm_base", "start@llm_apo", "start@rm_apo", "payoff_base", "payoff@round0", "judge"}
    looks |= {"gather@round0", "report", "plots"}
    assert ran(two) == {name for name in stages(played) if "@round1" in name} | looks
    evaluated = json.loads((played / "metrics/r2/evaluate.json").read_text())["evaluate_r2"]
    assert {
        "llm_apo_r2_vs_llm_base_r2",
        "llm_apo_r2_vs_llm_apo_r1",
        "llm_base_r2_vs_actor",
    } <= evaluated.keys()
    assert "llm_apo_r1_vs_llm_base_r1" not in evaluated  # round r1 has it
    rows = json.loads((played / "metrics/r1/payoff.json").read_text())["payoff_r1"]
    assert {"actor", "golden", "llm_base_r1", "llm_apo_r1", "llm_base_r2", "llm_apo_r2"} == rows.keys()
    assert not ran(dvc(played, "exp", "run", "-S", "rounds=[{id:r1,prev:r0}]"))
    assert not ran(dvc(played, "repro"))


def test_rounds_that_do_not_chain_end_before_the_first_one(played: Path) -> None:
    change_params(
        played / "params.yaml", {"rounds": [{"id": "r1", "prev": "r0"}, {"id": "r3", "prev": "r0"}]}
    )
    done = run(["dvc", "repro"], played)
    assert done.returncode != 0
    assert "error: params.yaml: rounds[1]: found round 'r3' after 'r0'; expected a new id" in done.stderr
    assert not ran(done.stdout + done.stderr) - {"start@llm_base", "start@llm_apo", "start@rm_apo"}


def test_the_gate_ends_the_run_before_scoring_and_trains_nothing(played: Path) -> None:
    change_params(played / "params.yaml", {"rm": {"max_ece": 0.0}})
    done = run(["dvc", "repro"], played)
    assert done.returncode != 0
    assert len(ran(done.stdout)) == 1 and ran(done.stdout) <= {"score_base@round0", "score@round0"}
    assert re.search(
        r"^error: models/rm_[\w/]+, of base_r1|apo_r1: found an ECE of 0", done.stderr, flags=re.MULTILINE
    )
    assert "Traceback" not in done.stderr
    # An open gate again, at another limit: scored, and as before, so only what tells it runs.
    change_params(played / "params.yaml", {"rm": {"max_ece": 0.999}})
    assert ran(dvc(played, "repro")) == {
        *("score_base@round0", "score@round0", "gather@round0", "report", "plots")
    }


def test_the_ablations_of_the_readme_can_be_queued(played: Path) -> None:
    """Each line as it stands there."""
    block = (
        (ROOT / "README.md").read_text(encoding="utf-8").split("### The paper's ablations")[1].split("```")[1]
    )
    lines = [line for line in block.splitlines() if line.startswith("dvc exp run --queue")]
    assert len(lines) > 6
    for line in lines:
        done = run(["bash", "-c", line], played)
        assert done.returncode == 0, (line, done.stderr)
    queued = dvc(played, "queue", "status")
    assert queued.count("Queued") == len(lines) + 3  # the sweep of coeff is four
    assert all(name in queued for name in ("gail", "wgan", "sequential", "rrhf", "dpo", "no-samples"))
    dvc(played, "queue", "remove", "--queued")


def test_experiment_in_its_own_folder(played: Path) -> None:
    """`--temp` leaves the workspace alone and runs the experiment's own code."""
    output = dvc(played, "exp", "run", "--temp", "-S", "apo.kl_coeff=0.0")
    assert ran(output) == AFTER_APO
    assert not ran(dvc(played, "repro"))


def test_training_on_the_same_numbers_gives_the_same_bytes(played: Path) -> None:
    """A stage forced to run again from nothing writes what it wrote before."""
    before = (played / "dvc.lock").read_bytes()
    for state in (played / ".cache" / "checkpoints").glob("base_rm-*/state.safetensors"):
        state.unlink()
    assert ran(dvc(played, "repro", "--force", "--single-item", "train_base_rm")) == {"train_base_rm"}
    assert (played / "dvc.lock").read_bytes() == before


def test_killed_training_goes_on(played: Path) -> None:
    """What a checkpoint of an earlier run holds is used, and the result is the same."""
    before = (played / "dvc.lock").read_bytes()
    states = list((played / ".cache" / "checkpoints").glob("base_rm-*/state.safetensors"))
    assert len(states) == 1
    assert ran(dvc(played, "repro", "--force", "--single-item", "train_base_rm")) == {"train_base_rm"}
    assert (played / "dvc.lock").read_bytes() == before


def readme_rows() -> list[tuple[str, str]]:
    """The table 'change this, and these stages run again'."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split("| change | stages that run again |\n|---|---|\n")[1].split("\n\n")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table.splitlines()]
    return [(row[0], row[1]) for row in rows]


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted names of all values of the parameters."""
    if not isinstance(node, dict):
        return {prefix: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= leaves(value, f"{prefix}.{key}".strip("."))
    return found


def test_every_section_is_in_the_readme_table() -> None:
    later_rounds = {"align_lr.r2", "align_lr.r3"}
    for leaf in leaves(YAML(typ="safe").load((ROOT / "params.yaml").read_text())):
        assert row_of(leaf) or leaf in later_rounds, leaf


def named(row: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", row)


def row_of(leaf: str) -> str:
    """The row with the longest name that the leaf has, or is below."""
    names = {name: row for row, _ in readme_rows() for name in named(row)}
    fitting = [name for name in names if leaf == name or leaf.startswith(name + ".")]
    return names[max(fitting, key=len)] if fitting else ""


def stages_of(words: str, all_stages: dict[str, Any]) -> set[str]:
    """`align` is all its instances, `align (apo)` those with that in their name."""
    found = set()
    for word in words.split(", "):
        name, _, part = word.removesuffix(")").partition(" (")
        mine = {s for s in all_stages if s.split("@")[0] == name and part in s.partition("@")[2]}
        assert mine, word
        found |= mine
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [row for row in readme_rows() if row[0] != "`rounds`"],  # a test of its own, above
    ids=lambda text: str(text)[:20],
)
def test_readme_table(played: Path, change: str, expected: str) -> None:
    """A leaf of everything of the row that stages declare invalidates its stages and no other."""
    all_stages = stages(played)
    declared = {name for stage in all_stages.values() for name in stage["params"]}
    tried: set[frozenset[str]] = set()  # what is declared together changes together
    if expected == "all":
        wanted = set(all_stages)
    elif expected.startswith("split and all after it"):
        wanted = downstream(all_stages, {"split"})
    else:
        wanted = stages_of(expected, all_stages)
    params = YAML(typ="safe").load((played / "params.yaml").read_text())
    for leaf, value in leaves(params).items():
        if row_of(leaf) != change or leaf in ("backbone.start", "actor.start", "data.dir"):
            continue
        above = frozenset(name for name in declared if leaf == name or leaf.startswith(name + "."))
        if above in tried:
            continue
        tried.add(above)
        node: Any = another(value)
        for key in reversed(leaf.split(".")):
            node = {key: node}
        change_params(played / "params.yaml", node)
        status = json.loads(dvc(played, "status", "--json"))
        direct = {
            stage
            for stage, changes in status.items()
            if any(
                "params.yaml" in (one.get("changed deps") or {}) for one in changes if isinstance(one, dict)
            )
        }
        assert direct, leaf
        assert downstream(all_stages, direct) == wanted, leaf
        git(played, "checkout", "-q", "params.yaml")


def another(value: Any) -> Any:
    """A different value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, 7] if isinstance(value, list) else value + "x"


def test_error_ends_the_run_with_one_line(played: Path) -> None:
    change_params(played / "params.yaml", {"rm": {"lr": -1.0}})
    done = run(["dvc", "repro"], played)
    assert done.returncode != 0
    assert "error: params.yaml: rm.lr: found -1.0; expected" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_own_files_in_the_authors_shapes(tmp_path: Path, played: Path) -> None:
    """Comparisons, golden answers and samples of others play the whole game."""
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
            "sample": {"rm": {"origin": "source"}},
            "convert": {"short_samples": "keep"},
            "model": {"pooling": "average", "separator": "<sep>"},
            "rm": {"eval_steps": 2},
        },
    )
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
    assert "truth" not in json.loads((repository / "metrics/test_rm.json").read_text())["test_rm"]["test"]
