"""Whole input for four stages, ways to damage it, and what a stage says of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import stages.convert
import stages.data
import stages.rjs
import stages.split
from apo.core.errors import UserError

ROOT = Path(__file__).parents[2]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
Damage = Callable[[Path], object]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


NUMBERS = range(30)
COMPARISONS = [
    {"query_id": f"i{n}", "query": query(n), "responses": ["good", "bad"], "scores": [1, 0]} for n in NUMBERS
]
GOLDEN = [{"query_id": f"i{n}", "query": query(n), "golden": "best"} for n in NUMBERS]
SAMPLES = [{"query_id": f"i{n}", "query": query(n), "samples": ["x", "y"]} for n in NUMBERS]
SCORES = [{"query_id": f"i{n}", "scores": [0.5, -0.5]} for n in NUMBERS]
CHOSEN = [{"chosen": f"{query(n)} good", "rejected": f"{query(n)} bad"} for n in NUMBERS]
FILES = {
    "input/pairs.jsonl": COMPARISONS,
    "input/golden.jsonl": GOLDEN,
    "input/samples.jsonl": [
        {"query": query(n), "sample_0": "x", "sample_1": "y", "hh_best": "z"} for n in NUMBERS
    ],
    "raw/comparisons.jsonl": [{**row, "type": "", "split": ""} for row in COMPARISONS],
    "raw/golden.jsonl": GOLDEN,
    "raw/demonstrations.jsonl": [{"query_id": "d", "query": query("d"), "response": "r"}],
    "raw/documents.jsonl": [{"text": "a fact"}],
    "golden.jsonl": GOLDEN,
    "samples.jsonl": SAMPLES,
    "scores.jsonl": SCORES,
}
NAMED = {"comparisons": ["pairs.jsonl"], "golden": ["golden.jsonl"], "samples": ["samples.jsonl"]}
SETTINGS = {
    "seed": 1,
    "data": PARAMS["data"] | {"source": "files", "files": PARAMS["data"]["files"] | NAMED},
    "split": PARAMS["split"] | {"test_fraction": 0.25, "valid_fraction": 0.25},
    "backbone": PARAMS["backbone"],
    "actor": PARAMS["actor"],
    "convert": PARAMS["convert"],
    "apo": PARAMS["apo"] | {"num_samples": 2},
    "rjs": PARAMS["rjs"],
}
MAINS: dict[str, Callable[..., None]] = {
    "data": stages.data.main,
    "split": stages.split.main,
    "convert": stages.convert.main,
    "rjs": stages.rjs.main,
}
NAMES = {"convert": {"round": "r1"}, "rjs": {"name": "apo_r1"}}  # arguments that are no paths
INPUTS = {
    "data": {"input": "input"},
    "split": {name: f"raw/{name}.jsonl" for name in ("comparisons", "golden", "demonstrations", "documents")},
    "convert": {"golden": "golden.jsonl", "samples": "samples.jsonl"},
    "rjs": {"samples": "samples.jsonl", "scores": "scores.jsonl"},
}


def prepare(folder: Path) -> None:
    """Whole input for the four stages."""
    for name, rows in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "params.yaml").write_text(json.dumps(SETTINGS))


def arguments(stage: str, folder: Path) -> dict[str, Any]:
    out = "out" if stage in ("data", "split") else "out/rows.jsonl"
    names = {**INPUTS[stage], "out": out, "metrics": "out_metrics/m.json", "params": "params.yaml"}
    return {key: folder / name for key, name in names.items()} | NAMES.get(stage, {})


# Damage --------------------------------------------------------------------------------------------


def row(name: str, **changes: Any) -> Damage:
    """Other values in the fifth row of a file; ... takes a key away."""

    def damage(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        changed = {**json.loads(lines[4]), **changes}
        lines[4] = json.dumps({key: value for key, value in changed.items() if value is not ...})
        (folder / name).write_text("\n".join(lines) + "\n")

    return damage


def line(name: str, text: str) -> Damage:
    """Another fifth line."""

    def damage(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        lines[4] = text
        (folder / name).write_text("\n".join(lines) + "\n")

    return damage


def again(name: str, **changes: Any) -> Damage:
    """The first row once more at the end, perhaps with other values."""

    def damage(folder: Path) -> None:
        first = json.loads((folder / name).read_text().splitlines()[0])
        with (folder / name).open("a") as out:
            out.write(json.dumps({**first, **changes}) + "\n")

    return damage


def content(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def gone(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def a_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def no_folder(name: str) -> Damage:
    return lambda folder: shutil.rmtree(folder / name)


def setting(name: str, value: Any) -> Damage:
    def damage(folder: Path) -> None:
        params = json.loads((folder / "params.yaml").read_text())
        *parents, key = name.split(".")
        node = params
        for parent in parents:
            node = node[parent]
        node[key] = value
        (folder / "params.yaml").write_text(json.dumps(params))

    return damage


def both(*damages: Damage) -> Damage:
    def damage(folder: Path) -> None:
        for one in damages:
            one(folder)

    return damage


def pairs(name: str, data: bytes) -> Damage:
    """Comparisons in a file of another name."""
    return both(content(f"input/{name}", data), setting("data.files.comparisons", [name]))


def out_is_a_file(folder: Path) -> None:
    (folder / "out").write_text("mine")


def no_rights(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out").chmod(0o500)


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


def parquet_bytes() -> bytes:
    from pyarrow import BufferOutputStream, Table, parquet

    out = BufferOutputStream()
    parquet.write_table(Table.from_pylist(COMPARISONS), out)
    data: bytes = out.getvalue().to_pybytes()
    return data


# Cases ---------------------------------------------------------------------------------------------


@dataclass
class Case:
    """One kind of damage.

    Args:
        stage: The stage that meets it.
        name: What is wrong.
        damage: Done to whole input.
        message: Where it is and what was found.
        as_user: Whether it is also run in a process, as DVC runs it.
        skip: Where it is none.
    """

    stage: str
    name: str
    damage: Damage
    message: str
    as_user: bool = False
    skip: bool = False


def ids(cases: list[Case]) -> list[str]:
    """A readable name for each case."""
    return [f"{case.stage}: {case.name}" for case in cases]


def in_process(cases: list[Case]) -> pytest.MarkDecorator:
    """Every case."""
    return pytest.mark.parametrize("case", cases, ids=ids(cases))


def as_a_user(cases: list[Case]) -> pytest.MarkDecorator:
    """The cases that are also run in a process, as DVC runs them."""
    few = [case for case in cases if case.as_user]
    return pytest.mark.parametrize("case", few, ids=ids(few))


ONE_LINE = re.compile(r"[^\n]+: found [^\n]+; expected [^\n]+; [^\n]{8,}")


def left_behind(folder: Path) -> list[str]:
    """Outputs and unfinished files; a folder made for them may stay."""
    outputs = [path for name in ("out", "out_metrics") for path in (folder / name).rglob("*")]
    return [str(path) for path in [*outputs, *folder.rglob("*.tmp")]]


def check_message(folder: Path, case: Case) -> None:
    """The damage ends in one message with four parts, and nothing is left behind."""
    if case.skip:
        pytest.skip("the superuser may write everywhere")
    prepare(folder)
    case.damage(folder)
    with pytest.raises(UserError, match=case.message) as error:
        MAINS[case.stage](**arguments(case.stage, folder))
    message = " ".join(str(error.value).splitlines())
    assert ONE_LINE.fullmatch(message), message
    assert len(message) < 700 + len(str(folder)) * 3
    assert left_behind(folder) == []


def run(stage: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The stage in a process, as DVC runs it."""
    words = [word for key, value in arguments(stage, folder).items() for word in (f"--{key}", str(value))]
    return subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def check_process(folder: Path, case: Case) -> None:
    """The damage ends in exit code 1 and one line on stderr, and nothing is left behind."""
    prepare(folder)
    case.damage(folder)
    done = run(case.stage, folder)
    assert done.returncode == 1
    assert re.search(case.message, done.stderr)
    assert done.stderr.startswith("error: ")
    assert ONE_LINE.fullmatch(done.stderr.removesuffix("\n")), done.stderr
    assert done.stdout == ""
    assert left_behind(folder) == []
