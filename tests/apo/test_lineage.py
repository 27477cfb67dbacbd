"""apo/lineage.py: the tree back to the raw data, held against the files; what is not as recorded is named."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from apo.lineage import main
from tests.helpers.import_closure import ROOT
from tests.helpers.played_repo import dvc, git

pytestmark = pytest.mark.filterwarnings("default:_NoneStep:DeprecationWarning")  # of DVC, about pygtrie
# Two stages on raw files, a chain of folders, a stage that reads a folder with the outputs of two others.
PIPELINE = """
stages:
  split:
    cmd: mkdir parts && cp raw.txt parts/a.txt && cp raw.txt parts/b.txt && echo 1 > metrics.json
    deps: [raw.txt, code]
    params: [seed, split]
    outs: [parts]
    metrics: [{metrics.json: {cache: false}}]
  first:
    cmd: mkdir -p curves && cp parts/a.txt curves/first.txt
    deps: [parts/a.txt]
    outs: [curves/first.txt]
  second:
    cmd: mkdir -p curves && cat parts/b.txt own.txt > curves/second.txt
    deps: [parts/b.txt, own.txt]
    params: [split.size]
    outs: [curves/second.txt]
  plots:
    cmd: cat curves/first.txt curves/second.txt > plots.txt
    deps: [curves]
    outs: [plots.txt]
  never:
    cmd: cp plots.txt never.txt
    deps: [plots.txt]
    outs: [never.txt]
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "params.yaml": "seed: 1\nsplit:\n  size: 3\n  kind: x\nother: 1\n",
    "raw.txt": "a raw file\n",
    "own.txt": "another\n",
    "code/module.py": "x = 1\n",
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which all stages but the last one ran."""
    folder = tmp_path_factory.mktemp("lineage") / "played"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    dvc(folder, "init", "-q")
    dvc(folder, "repro", "plots")
    return folder


@pytest.fixture
def repository(played: Path, tmp_path: Path) -> Path:
    """A copy of it elsewhere, to be spoilt."""
    return shutil.copytree(played, tmp_path / "copy")


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Exit code, output and errors of the command, in a folder."""

    def run(folder: Path, name: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        code = main([name])
        return code, *capsys.readouterr()

    return run


def named(output: str) -> dict[str, str]:
    """What the lines at the end name, with what is said of it."""
    lines = [line for line in output.splitlines()[1:] if not line.startswith(" ")]
    return dict(line.split(": ", 1) if line.count(": ") == 1 else line.rsplit(": ", 1) for line in lines)


def test_lineage_goes_back_to_the_raw_data(played: Path, ask: Ask) -> None:
    code, output, errors = ask(played, "plots.txt")
    assert (code, errors) == (0, "")
    lines = [
        line.rsplit("  ", 1)[0] if "ok" in line and "params" not in line else line
        for line in output.splitlines()
    ]
    assert lines == [
        "stage plots",
        "  wrote  ok        plots.txt",
        "  read   ok        curves",
        "    stage first",
        "      wrote  ok        curves/first.txt",
        "      read   ok        parts/a.txt",
        "        stage split",
        "          wrote  ok        parts",
        "          wrote  ok        metrics.json",
        "          read   ok        raw.txt",
        "          read   ok        code",
        "          read   ok        params.yaml: seed, split",
        "    stage second",
        "      wrote  ok        curves/second.txt",
        "      read   ok        parts/b.txt",
        "        made by stage split, shown above",
        "      read   ok        own.txt",
        "      read   ok        params.yaml: split.size",
        "all of it as recorded",
    ]
    lock = (played / "dvc.lock").read_text()
    hashes = [
        line.rsplit("  ", 1)[1] for line in output.splitlines() if " ok " in line and "params" not in line
    ]
    assert len(hashes) == 11 and all(f"md5: {one}" in lock for one in hashes)


@pytest.mark.parametrize(
    ("name", "stage"),
    [("parts", "split"), ("parts/", "split"), ("./parts/b.txt", "split"), ("curves/second.txt", "second")],
)
def test_find_stage_takes_files_and_folders(played: Path, ask: Ask, name: str, stage: str) -> None:
    code, output, errors = ask(played, name)
    assert (code, errors) == (0, "")
    assert output.startswith(f"stage {stage}\n")
    assert ask(played, str(played / name)) == (code, output, errors)
    assert ask(played / "code", f"../{name}") == (code, output, errors)


def flip(name: str, byte: int = -2) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[byte] ^= 1
        (folder / name).unlink()
        (folder / name).write_bytes(data)

    return damage


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return damage


def gone(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def new(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text("x = 2\n")


DAMAGES: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "the output": (flip("plots.txt"), {"plots.txt": "modified, stage plots"}),
    "metrics": (flip("metrics.json"), {"metrics.json": "modified, stage split"}),
    "a raw file": (flip("own.txt"), {"own.txt": "modified, stage second"}),
    "a raw file far away": (flip("raw.txt", 0), {"raw.txt": "modified, stage split"}),
    "in a folder": (
        flip("parts/a.txt"),
        {"parts": "modified, stage split", "parts/a.txt": "modified, stage first"},
    ),
    "code": (flip("code/module.py"), {"code": "modified, stage split"}),
    "too many": (new("code/more.py"), {"code": "modified, stage split"}),
    "gone": (gone("raw.txt"), {"raw.txt": "deleted, stage split"}),
    "a parameter": (
        replace("params.yaml", "size: 3", "size: 4"),
        {"params.yaml: split": "modified, stage split", "params.yaml: split.size": "modified, stage second"},
    ),
    "a parameter of no stage": (replace("params.yaml", "other: 1", "other: 2"), {}),
    "a parameter that is gone": (
        replace("params.yaml", "seed: 1\n", ""),
        {"params.yaml: seed": "deleted, stage split"},
    ),
    "a command": (
        replace("dvc.yaml", "cp parts/a.txt", "mv parts/a.txt"),
        {"command of stage first": "modified"},
    ),
    "a new input": (
        replace("dvc.yaml", "deps: [curves]", "deps: [curves, own.txt]"),
        {"own.txt": "modified, stage plots"},
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_lineage_names_what_is_not_as_recorded(repository: Path, ask: Ask, damage: str) -> None:
    spoil, expected = DAMAGES[damage]
    spoil(repository)
    code, output, errors = ask(repository, "plots.txt")
    assert errors == ""
    assert named(output) == expected if expected else output.endswith("\nall of it as recorded\n")
    assert code == bool(expected)
    for name, state in expected.items():
        mark = state.split(",")[0]
        assert any(mark in line and name.split(": ")[0].split()[-1] in line for line in output.splitlines())


def test_lineage_names_an_output_of_an_older_input(repository: Path, ask: Ask) -> None:
    """The file is as its own stage recorded it, but not what the later stage read."""
    (repository / "own.txt").write_text("changed\n")
    dvc(repository, "repro", "-s", "second")
    assert ask(repository, "curves/second.txt")[0] == 0
    code, output, _ = ask(repository, "plots.txt")
    assert code == 1
    assert "      wrote  ok        curves/second.txt" in output
    assert named(output) == {"curves": "modified, stage plots"}


def test_lineage_names_a_stage_that_never_ran(repository: Path, ask: Ask) -> None:
    (repository / "never.txt").write_text("by hand\n")
    code, output, _ = ask(repository, "never.txt")
    assert code == 1
    assert output.startswith("stage never\n  wrote  modified  never.txt\n")
    assert named(output) == dict.fromkeys(("never.txt", "plots.txt"), "modified, stage never")


def test_lineage_names_what_is_not_in_the_cache(repository: Path, ask: Ask) -> None:
    shutil.rmtree(repository / ".dvc/cache")
    code, output, _ = ask(repository, "parts")
    assert code == 1
    assert named(output) == {"parts": "not in cache, stage split"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own.txt", "no stage of dvc.yaml that writes it"),
        ("none.txt", "no such file"),
        (".", "no stage of dvc.yaml that writes it"),
        ("/", "no stage of dvc.yaml that writes it"),
    ],
)
def test_find_stage_refuses_what_no_stage_writes(played: Path, ask: Ask, name: str, message: str) -> None:
    code, output, errors = ask(played, name)
    assert (code, output) == (1, "")
    assert f"{name}: found {message}; expected an output of a stage" in errors
    assert len(errors.splitlines()) == 1


def test_find_stage_names_a_file_that_is_not_in_the_output(repository: Path, ask: Ask) -> None:
    assert ask(repository, "parts/c.txt")[2].startswith("error: parts/c.txt: found no such file; ")


def test_main_outside_a_repository_ends_in_one_line(played: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "apo.lineage", str(played / "plots.txt")]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and "not inside of a DVC repository" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_lineage_goes_back_to_a_file_outside_of_the_repository(repository: Path, ask: Ask) -> None:
    """As a checkpoint that `backbone.start` names by its path."""
    outside = repository.parent / "weights.txt"
    outside.write_text("w")
    pipeline = PIPELINE.replace("deps: [parts/b.txt, own.txt]", f"deps: [parts/b.txt, own.txt, {outside}]")
    (repository / "dvc.yaml").write_text(pipeline)
    dvc(repository, "repro", "plots")
    code, output, errors = ask(repository, "plots.txt")
    assert (code, errors) == (0, "") and f"ok        {outside}" in output
