"""apo/lineage.py: the tree back to the raw data; a flipped byte anywhere is named."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from apo.core.records import write_rows
from tests.helpers.import_closure import ROOT

PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
NUMBERS = range(40)
IDS = [f"i{n}" for n in NUMBERS]
COMMANDS = (
    "data --input data/input --out data/raw --metrics metrics/data.json",
    "split --comparisons data/raw/comparisons.jsonl --golden data/raw/golden.jsonl"
    " --demonstrations data/raw/demonstrations.jsonl --documents data/raw/documents.jsonl"
    " --out data/split --metrics metrics/split.json",
    "rjs --name apo_r1 --samples data/raw/samples.jsonl --scores own/scores.jsonl"
    " --out data/rjs/r1/apo.jsonl --metrics metrics/rjs_apo.json",
    "convert --round r1 --golden data/raw/golden.jsonl --samples data/rjs/r1/apo.jsonl"
    " --out data/apo/r1.jsonl --metrics metrics/convert.json",
)


def query(number: int) -> str:
    return f"\n\nHuman: question {number}\n\nAssistant:"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which the stages that need no model ran on files of a user."""
    folder = tmp_path_factory.mktemp("played")
    for name in ("apo", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    named = {"comparisons": ["pairs.jsonl"], "golden": ["golden.jsonl"], "samples": ["samples.jsonl"]}
    changes = {
        "data": PARAMS["data"] | {"source": "files", "files": PARAMS["data"]["files"] | named},
        "split": PARAMS["split"] | {"test_fraction": 0.25, "valid_fraction": 0.25},
        "apo": PARAMS["apo"] | {"num_samples": 2},
    }
    (folder / "params.yaml").write_text(json.dumps(PARAMS | changes, indent=1))
    rows = [{"query_id": f"i{n}", "query": query(n)} for n in NUMBERS]
    own = {
        "data/input/pairs": [row | {"responses": ["good", "bad"], "scores": [1, 0]} for row in rows],
        "data/input/golden": [row | {"golden": "best"} for row in rows],
        "data/input/samples": [row | {"sample_0": "x", "sample_1": "y"} for row in rows],
        "own/scores": [{"query_id": row["query_id"], "scores": [0.5, -0.5]} for row in rows],
    }
    for name, content in own.items():
        write_rows(folder / f"{name}.jsonl", content)
    for command in COMMANDS:
        words = [sys.executable, "-m", f"stages.{command.split()[0]}", *command.split()[1:]]
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def repository(played: Path, tmp_path: Path) -> Path:
    """A copy of it elsewhere, to be spoilt."""
    return shutil.copytree(played, tmp_path / "copy")


def ask(folder: Path, file: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `python -m apo.lineage FILE`."""
    done = subprocess.run(
        [sys.executable, "-m", "apo.lineage", file], cwd=folder, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def bad(output: str) -> dict[str, str]:
    """The files that are named at the end, with the reasons."""
    lines = [line for line in output.splitlines() if line[0] != " " and "made by" not in line]
    return dict(line.rsplit(": ", 1) for line in lines)


def test_the_tree_goes_back_to_the_raw_data_and_shows_what_is_shared_once(played: Path) -> None:
    code, output, errors = ask(played, "data/apo/r1.jsonl")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "data/apo/r1, made by stage convert"
    assert lines[-1] == "all of it as recorded"
    assert not [word for word in ("CHANGED", "MISSING", "NEW", "no provenance") if word in output]
    expected = [
        "  wrote  ok      data/apo/r1.jsonl",
        "  read   ok      data/raw/golden.jsonl",
        "    data/raw, made by stage data",
        "      read   ok      data/input/pairs.jsonl  (raw)",
        "  read   ok      data/rjs/r1/apo.jsonl",
        "    data/rjs/r1/apo, made by stage rjs",
        "      read   ok      data/raw/samples.jsonl",
        "        made by stage data, shown above",
        "      read   ok      own/scores.jsonl  (raw)",
    ]
    assert [line for line in lines if line in expected] == expected
    assert output.count("data/raw, made by stage data") == 1
    assert "  params ok      apo.num_samples" in lines


@pytest.mark.parametrize(
    "name",
    ["data/apo/r1.jsonl", "data/split", "data/split/", "./data/split/test.jsonl", "data/raw.provenance.json"],
)
def test_files_folders_and_provenance_can_be_asked(played: Path, name: str) -> None:
    code, output, errors = ask(played, name)
    assert (code, errors) == (0, "")
    own = name.strip("./").removesuffix(".provenance.json").removesuffix("/test.jsonl").removesuffix(".jsonl")
    assert output.startswith(f"{own}, made by stage")
    assert ask(played, str(played / name))[1] == output


def flip(name: str, byte: int = 40) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[byte] ^= 1
        (folder / name).write_bytes(data)

    return damage


def parameter(folder: Path) -> None:
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace('"num_samples": 2', '"num_samples": 3'))


def gone(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def new(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text("{}")


DAMAGES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "the output": (flip("data/apo/r1.jsonl"), "data/apo/r1.jsonl", "CHANGED", "convert"),
    "its metrics": (flip("metrics/convert.json", 5), "metrics/convert.json", "CHANGED", "convert"),
    "an input": (flip("data/rjs/r1/apo.jsonl"), "data/rjs/r1/apo.jsonl", "CHANGED", "convert"),
    "a raw file, its last byte": (flip("own/scores.jsonl", -1), "own/scores.jsonl", "CHANGED", "rjs"),
    "a raw file far away": (flip("data/input/pairs.jsonl"), "data/input/pairs.jsonl", "CHANGED", "data"),
    "what nothing read": (flip("data/raw/documents.jsonl"), "data/raw/documents.jsonl", "CHANGED", "data"),
    "its code": (flip("apo/conversion.py"), "apo/conversion.py", "CHANGED", "convert"),
    "code of an earlier stage": (flip("apo/selection.py"), "apo/selection.py", "CHANGED", "rjs"),
    "a parameter": (parameter, "params.yaml: apo.num_samples", "CHANGED", "convert"),
    "gone": (gone("data/raw/golden.jsonl"), "data/raw/golden.jsonl", "MISSING", "convert"),
    "too many": (new("data/input/more.jsonl"), "data/input/more.jsonl", "NEW", "data"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_not_as_recorded_is_named_and_nothing_else(repository: Path, name: str) -> None:
    damage, file, mark, stage = DAMAGES[name]
    damage(repository)
    code, output, errors = ask(repository, "data/apo/r1.jsonl")
    assert (code, errors) == (1, "")
    assert bad(output) == {file: f"{mark}, not as stage {stage} recorded it"}
    assert f" {mark:8}{file.removeprefix('params.yaml: ')}" in output


def test_a_stage_that_ran_again_no_longer_fits_what_was_made_of_it(repository: Path) -> None:
    """The file is as its own stage recorded it, but not what the later stage read."""
    path = repository / "own/scores.jsonl"
    path.write_text(path.read_text().replace("0.5, -0.5", "-0.5, 0.5"))
    words = COMMANDS[2].split()
    command = [sys.executable, "-m", f"stages.{words[0]}", *words[1:]]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)
    assert ask(repository, "data/rjs/r1/apo.jsonl")[0] == 0
    code, output, _ = ask(repository, "data/apo/r1.jsonl")
    assert code == 1
    assert "  read   CHANGED data/rjs/r1/apo.jsonl" in output
    assert "      wrote  ok      data/rjs/r1/apo.jsonl" in output
    assert bad(output) == {"data/rjs/r1/apo.jsonl": "CHANGED, not as stage convert recorded it"}


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: flip(path.name)(path.parent)])
def test_an_earlier_provenance_that_is_gone_or_spoilt_is_named(
    repository: Path, damage: Callable[[Path], None]
) -> None:
    damage(repository / "data/rjs/r1/apo.core.provenance.json")
    code, output, errors = ask(repository, "data/apo/r1.jsonl")
    assert (code, errors) == (1, "")
    assert "  read   ok      data/rjs/r1/apo.jsonl  (no provenance)" in output
    assert "data/rjs/r1/apo" in output.splitlines()[-1] and "; expected " in output.splitlines()[-1]
    code, output, errors = ask(repository, "data/rjs/r1/apo.jsonl")
    assert (code, output) == (1, "")
    assert errors.startswith("error: data/rjs/r1/apo") and len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("own/scores.jsonl", "no provenance beside it"),
        ("data/rjs/none.jsonl", "no such file"),
        ("data/raw/none.jsonl", "no such file"),
        (".", "no provenance beside it"),
        ("/", "no provenance beside it"),
    ],
)
def test_a_file_without_provenance_is_one_line(played: Path, name: str, found: str) -> None:
    code, output, errors = ask(played, name)
    assert (code, output) == (1, "")
    assert f": found {found}; expected a checkpoint or a records file" in errors
    assert len(errors.splitlines()) == 1


def test_elsewhere_than_in_the_repository_it_says_so(played: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "apo.lineage", str(played / "data/apo/r1.jsonl")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: dvc.yaml: found ") and "run from the repository root" in done.stderr
