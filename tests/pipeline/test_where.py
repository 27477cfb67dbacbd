"""docs/where.md: the commands of its examples, as they are on the page, as far as a CPU goes."""

import csv
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from apo.check_params import check_params
from apo.core.config import read_section
from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.model.runtime import explain_oom
from apo.sampling.settings import Sampling
from apo.scoring.settings import Score
from tests.apo.core import test_distributed
from tests.helpers import tiny_models as tiny
from tests.helpers.played_repo import dvc, git
from tests.helpers.small_repo import ROOT
from tests.helpers.torchrun import Place

pytestmark = pytest.mark.timeout(900)
PAGE = (ROOT / "docs/where.md").read_text(encoding="utf-8")
EXAMPLES = ("One GPU", "Eight GPUs", "Two nodes by Slurm", "A sweep over four GPUs", "vLLM")
stage = test_distributed.stage
UP_TO_DATE = "Data and pipelines are up to date."
# What a machine of Slurm has, and one that reaches another by ssh.
STAND_INS = {
    "scontrol": r"""test "$*" = "show hostnames node[1-2]" && printf 'localhost\nnode2\n'""",
    "srun": """test "$1" = --kill-on-bad-exit=1 && shift || exit 2
for node in 0 1; do SLURM_PROCID=$node SLURM_STEP_NUM_TASKS=2 "$@" & done
wait -n && wait -n || { kill $(jobs -p); wait; exit 1; }""",
    "ssh": """test "$1 $2" = "-tt second" && exec bash -c "$3" """,
}
# A stage that takes a GPU, since it imports a module `torch`. It ends when four have one at the same time.
TOY = """\
import os, time
from pathlib import Path

import torch
from apo.core.stage import run


def main(out: Path) -> None:
    gpu, seen = os.environ.get("CUDA_VISIBLE_DEVICES"), Path(os.environ["SEEN"])
    if gpu is not None:
        (seen / gpu).touch(exist_ok=False)
        end = time.monotonic() + 200
        while len(list(seen.iterdir())) < 4:
            assert time.monotonic() < end, "the others have no GPU"
            time.sleep(0.1)
    out.write_text("done")


if __name__ == "__main__":
    run(main)
"""
TOY_STAGES = """\
stages:
  toy:
    cmd: python toy.py --out out.txt
    params: [apo.coeff]
    outs: [out.txt]
"""


def example(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> str:
    """The block of shell commands of an example."""
    [block] = re.findall(r"^```sh\n(.*?)^```$", example(title), flags=re.DOTALL | re.MULTILINE)
    return str(block)


def lines(title: str) -> list[str]:
    return commands(title).splitlines()


def changed(text: str, values: dict[str, str]) -> str:
    """Commands with other values than those of the page, each of which is in them once."""
    for old, new in values.items():
        assert text.count(old) == 1, (old, text)
        text = text.replace(old, new)
    return text


def printed(folder: Path, script: str, *, fails: bool = False, **environment: str) -> str:
    """What a script prints, in a shell without variables of this project but those for a CPU."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("APO_", "CUDA_"))}
    fixed = {"APO_DEVICE": "cpu", "APO_THREADS": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    fixed["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "printed.tmp").open("w+") as out:  # workers of a queue would hold a pipe open
        code = subprocess.run(
            ["bash", "-euc", script], cwd=folder, env=kept | fixed | environment, stdout=out, stderr=out
        ).returncode
        out.seek(0)
        said = out.read()
    assert (code != 0) == fails, said
    return said


def commit(folder: Path) -> Path:
    (folder / ".gitignore").write_text("/apo\n/configs\n/stages\n*.tmp\n")
    git(folder, "init", "-q")
    for key, value in (("name", "test"), ("email", "test@example.org")):
        git(folder, "config", f"user.{key}", value)
    dvc(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "tiny")
    return folder


def repository(folder: Path, name: str) -> Path:
    """A repository with one stage of dvc.yaml, the code of this one and tiny inputs."""
    Place(folder)
    places = {"backbone": "models/backbone", "train.jsonl": "data/split/rm_train.jsonl"}
    for old, new in (places | {"valid.jsonl": "data/split/rm_valid.jsonl"}).items():
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / new)
    shutil.copytree(folder / "models/backbone", folder / "models/llm_apo/r0")
    write_rows(folder / "data/split/rm_queries.jsonl", [{"query_id": "1", "query": tiny.query("Why?")}])
    write_rows(folder / "data/raw/samples.jsonl", [])
    stage = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][name]
    stage["deps"] = [path for path in stage["deps"] if not path.startswith(("apo/", "stages/"))]
    with (folder / "dvc.yaml").open("w", encoding="utf-8") as out:
        YAML().dump({"stages": {name: stage}}, out)
    for code in ("apo", "configs", "stages"):
        (folder / code).symlink_to(ROOT / code)
    return commit(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which the first command of the page has trained a small reward model."""
    folder = repository(tmp_path_factory.mktemp("where") / "apo", "train_base_rm")
    said = printed(folder, lines("One GPU")[0])
    assert "Running stage 'train_base_rm'" in said, said
    (folder.parent / "one.csv").write_bytes(curve_of(folder).read_bytes())
    return folder


def curve_of(folder: Path) -> Path:
    return folder / "metrics/curves/r0/train_base_rm/training.csv"


def numbers(path: Path) -> list[dict[str, float]]:
    with path.open() as rows:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(rows)]


def check_trains_the_same(folder: Path, script: str, *, processes: int, **environment: str) -> None:
    """A command of the page trains again, by its engine, to the losses of one process; nothing is left."""
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    assert script.count("dvc repro") == 1
    said = printed(folder, script.replace("dvc repro", "dvc repro --force"), **environment)
    assert "Running stage 'train_base_rm'" in said, said
    card = (folder / "models/rm_base/README.md").read_text(encoding="utf-8")
    engine = "deepspeed" if "APO_DEEPSPEED" in script else "fsdp" if "APO_FSDP" in script else "ddp"
    where = [f'- `engine`: "{engine}"\n', f"- `processes`: {processes}\n"]
    assert [line in card for line in where] == [processes > 1] * 2, card
    wanted, found = numbers(folder.parent / "one.csv"), numbers(curve_of(folder))
    assert len(found) == len(wanted) == 10
    for one, other in zip(wanted, found, strict=True):
        assert other == pytest.approx(one, rel=1e-5, abs=5e-5)
    assert UP_TO_DATE in printed(folder, "dvc repro")


def stand_ins(folder: Path) -> dict[str, str]:
    """A batch job of two nodes that are this machine, and a free port."""
    folder.mkdir()
    for name, script in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PATH": path, "PORT": port, "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "7"}


def test_each_example_says_what_is_seen_what_stays_and_what_was_run() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    assert headings[: len(EXAMPLES)] == list(EXAMPLES)
    for title in EXAMPLES:
        assert re.findall(r"^- (\w+): .", example(title), flags=re.MULTILINE) == ["Seen", "Unchanged", "Run"]


def test_the_commands_name_variables_and_files_that_exist() -> None:
    used = "".join(map(example, EXAMPLES))
    rows = re.findall(r"^\| (`.*?) \|", example("Settings"), flags=re.MULTILINE)
    assert set(re.findall(r"\bAPO_[A-Z_]+", used)) <= set(re.findall(r"\w+", " ".join(rows)))
    files = set(re.findall(r"configs/\w+\.\w+|requirements[\w-]*\.txt", used))
    assert len(files) > 3 and all((ROOT / file).is_file() for file in files)


def test_one_gpu_without_memory_is_told_what_the_page_says() -> None:
    [line] = re.findall(r"`error: (.*)`", example("One GPU"))
    budget = int(re.findall(r"of (\d+) tokens", line)[0])
    with pytest.raises(UserError) as raised, explain_oom("APO_TOKEN_BUDGET", budget):
        raise MemoryError
    assert str(raised.value).startswith(line)
    [half] = re.findall(r"APO_TOKEN_BUDGET=\d+", lines("One GPU")[1])
    assert half in str(raised.value)


@pytest.mark.slow
def test_one_gpu(trained: Path) -> None:
    check_trains_the_same(trained, lines("One GPU")[1], processes=1)


@pytest.mark.slow
@pytest.mark.parametrize("line", lines("Eight GPUs")[1:], ids=lambda line: line.partition("  ")[0])
def test_eight_gpus_as_two_processes(trained: Path, line: str) -> None:
    launch = changed(lines("Eight GPUs")[0], {"--nproc_per_node 8": "--nproc_per_node 2"})
    check_trains_the_same(trained, f"{launch}\n{line}", processes=2)


@pytest.mark.slow
def test_two_nodes_by_slurm_as_two_launchers(trained: Path, tmp_path: Path) -> None:
    """`srun` starts the launcher twice; sbatch refuses a file that does not begin with a shell."""
    script, variables = commands("Two nodes by Slurm"), stand_ins(tmp_path / "bin")
    assert script.startswith("#!/bin/bash\n#SBATCH --nodes=2 ")
    smaller = {"--nproc_per_node 8": "--nproc_per_node 1", ":29500": f":{variables['PORT']}"}
    check_trains_the_same(trained, changed(script, smaller), processes=2, **variables)


@pytest.mark.slow
def test_two_nodes_by_ssh_run_a_toy_stage(stage: Path, tmp_path: Path) -> None:
    """`stage` is the folder of one whose processes say who they are."""
    [launch] = re.findall(r"`APO_LAUNCH='(.*)' dvc repro`", example("Two nodes by Slurm"))
    (stage / "configs").symlink_to(ROOT / "configs")
    here = changed(launch, {"first second 8": "127.0.0.1 second 1"})
    code, said = test_distributed.ended(stage, here, "well", **stand_ins(tmp_path / "bin"))
    assert code == 0 and '"world": 2' in (stage / "out.json").read_text(), said


@pytest.mark.slow
def test_a_sweep_gives_each_task_a_gpu(tmp_path: Path) -> None:
    once, queue, start, show = lines("A sweep over four GPUs")
    [names] = re.findall(r"APO_GPUS=(\S+)", start)
    [values] = re.findall(r"apo\.coeff=(\S+)", queue)
    folder = tmp_path / "apo"
    for name in ("apo", "library", "seen", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "library" / "torch.py").touch()
    (folder / "toy.py").write_text(TOY)
    (folder / "dvc.yaml").write_text(TOY_STAGES)
    shutil.copy2(ROOT / "params.yaml", folder)
    commit(folder)
    variables = {
        "APO_DEVICE": "cuda",
        "PYTHONPATH": f"{tmp_path / 'library'}{os.pathsep}{ROOT}",
        "TMPDIR": str(tmp_path / "tmp"),
        "SEEN": str(tmp_path / "seen"),
    }
    assert "Running stage 'toy'" in printed(folder, once, **variables)
    assert printed(folder, queue, **variables).count("Queued experiment") == len(values.split(",")) == 4
    printed(folder, start, **variables)
    for _ in range(60):
        time.sleep(3)  # asking takes longer than a task
        status = dvc(folder, "queue", "status")
        if not re.search("Queued|Running", status):
            break
    assert status.count("Success") == 4, status
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == names.split(",")
    shown = printed(folder, show, **variables)
    assert all(value in shown for value in values.split(",")), shown


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_vllm_up_to_the_message_that_it_is_not_installed(tmp_path: Path) -> None:
    install, activate, run = lines("vLLM")
    assert (
        install.split()[3] == activate.removeprefix("source ").removesuffix("/bin/activate") == ".venv-vllm"
    )
    folder = repository(tmp_path / "apo", "sample_rm")
    [message] = re.findall(r"`(error: .*)`", example("vLLM"))
    assert message in printed(folder, run, fails=True)
    params = folder / "params.yaml"
    check_params(params)
    parts = [f"sample.{part}" for part in ("rm", "llm", "test")]
    sampling = [read_section(params, part, Sampling, defaults="sample.common") for part in parts]
    assert {one.backend for one in [*sampling, read_section(params, "score", Score)]} == {"vllm"}
