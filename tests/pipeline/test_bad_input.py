"""Damaged input, as a user would bring it: one line that says what to do, and no file left behind."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
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
NAMED = {"convert": {"round": "r1"}, "rjs": {"name": "apo_r1"}}  # arguments that are no paths
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
    return {key: folder / name for key, name in names.items()} | NAMED.get(stage, {})


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


P, S, G = "input/pairs.jsonl", "input/samples.jsonl", "input/golden.jsonl"
FIFTH = r"pairs\.jsonl:5: found "
CASES = [
    Case("data", "missing file", gone(P), r"pairs\.jsonl: found no such file", as_user=True),
    Case("data", "a folder for a file", a_folder(P), r"pairs\.jsonl: found a folder"),
    Case("data", "empty file", content(P, b""), r"pairs\.jsonl: found no rows"),
    Case("data", "blank lines only", content(P, b"\n \n"), r"pairs\.jsonl: found no rows"),
    Case("data", "empty list", pairs("x.json", b"[]"), r"x\.json: found no rows"),
    Case("data", "cut off line", line(P, '{"query": "a'), FIFTH + "a line that is not JSON"),
    Case(
        "data", "cut off list", pairs("x.json", json.dumps(COMPARISONS).encode()[:-9]), r"x\.json: found no J"
    ),
    Case(
        "data",
        "cut off gz",
        pairs("x.jsonl.gz", gzip.compress(jsonl(COMPARISONS))[:-20]),
        r"x\.jsonl\.gz: found data that breaks off",
        as_user=True,
    ),
    Case("data", "no gz", pairs("x.jsonl.gz", jsonl(COMPARISONS)), r"x\.jsonl\.gz: found data that"),
    Case("data", "no xz", pairs("x.json.xz", jsonl(COMPARISONS)), r"x\.json\.xz: found data that"),
    Case("data", "no parquet", pairs("x.parquet", jsonl(COMPARISONS)), r"x\.parquet: found no readable par"),
    Case(
        "data",
        "cut off parquet",
        lambda folder: pairs("x.parquet", parquet_bytes()[:-30])(folder),
        r"x\.parquet: found no readable parquet",
        as_user=True,
    ),
    Case("data", "empty parquet", pairs("x.parquet", b""), r"x\.parquet: found no readable parquet"),
    Case(
        "data", "another format", pairs("x.txt", b"a,b\n"), r"x\.txt: found a file name that ends in '\.txt'"
    ),
    Case(
        "data",
        "not UTF-8",
        content(P, jsonl(COMPARISONS[:4]) + b'{"q": "\xfc"}\n'),
        FIFTH + "bytes that are not UTF-8",
        as_user=True,
    ),
    Case(
        "data",
        "UTF-16",
        content(P, jsonl(COMPARISONS).decode().encode("utf-16")),
        r"pairs\.jsonl: found text in UTF-16",
    ),
    Case("data", "NUL", row(P, responses=["a\0", "b"]), FIFTH + "a NUL character in 'responses'"),
    Case("data", "lone surrogate", row(P, responses=["\ud800", "b"]), FIFTH + "half of a surrogate pair"),
    Case(
        "data",
        "surrogate in a name",
        content(S, jsonl([{"query": query(0), "samples": ["x"], "extra": {"\ud800": "z"}}])),
        r"samples\.jsonl:1: found half of a surrogate pair",
    ),
    Case("data", "huge nesting", line(P, "[" * 100_000), FIFTH + "a line that is not JSON"),
    Case("data", "nested list", pairs("x.json", b"[" * 100_000), r"x\.json: found no JSON"),
    Case(
        "data", "a number of 5000 digits", line(P, '{"a": ' + "9" * 5000 + "}"), FIFTH + "a line that is not"
    ),
    Case("data", "a line that is no object", line(P, "[1]"), FIFTH + "JSON of type list"),
    Case("data", "a list of texts", pairs("x.json", b'["a"]'), r"x\.json: row 1: found JSON of type str"),
    Case("data", "a number for a text", row(P, responses=["a", 5]), FIFTH + "int 5 in 'responses'"),
    Case("data", "null for a text", row(P, responses=["a", None]), FIFTH + "null in 'responses'"),
    Case("data", "a text for a list", row(P, responses="ab"), FIFTH + "str 'ab' in 'responses'"),
    Case("data", "a number for a query", row(P, query=7), FIFTH + "int 7 in 'query'"),
    Case("data", "a blank query", row(P, query=" \n"), FIFTH + "a blank text in 'query'"),
    Case(
        "data", "an unfinished query", row(P, query=query(0) + " and"), FIFTH + "a query in 'query' that ends"
    ),
    Case("data", "NaN among the scores", row(P, scores=[float("nan"), 0]), FIFTH + "the score nan"),
    Case("data", "infinite score", row(P, scores=[1, float("-inf")]), FIFTH + "the score -inf"),
    Case("data", "a score that no float holds", row(P, scores=[10**400, 0]), FIFTH + "the score 1000"),
    Case("data", "a text for a score", row(P, scores=["1", 0]), FIFTH + "the score '1'"),
    Case("data", "too few scores", row(P, scores=[1]), FIFTH + "1 values for 2 responses", as_user=True),
    Case(
        "data",
        "no scores",
        row(P, scores=...),
        FIFTH + r"keys .*expected responses \(query, responses, scores\)",
    ),
    Case("data", "another shape in between", row(P, query=..., prompt="a"), FIFTH + "keys"),
    Case("data", "no known shape", content(P, b'{"in": "a", "out": "b"}\n'), r":1: found keys .*no known"),
    Case("data", "a blank id", row(P, query_id=" "), FIFTH + "query_id ' '"),
    Case("data", "a list for an id", row(P, query_id=[1]), FIFTH + r"query_id \[1\]"),
    Case("data", "a number for a type", row(P, type=3), FIFTH + "int 3 in 'type'"),
    Case(
        "data",
        "one id for two queries",
        row(P, query_id="i0"),
        "found query_id 'i0' for the query",
        as_user=True,
    ),
    Case("data", "two golden answers", again(G, golden="worse"), "golden answers of query 'i0': found two"),
    Case("data", "golden without query", row(G, query=...), r"golden\.jsonl:5: found keys"),
    Case("data", "null among samples", row(S, sample_1=None), r"samples\.jsonl:5: found null in 'sample_1'"),
    Case(
        "data",
        "pairs under golden",
        setting("data.files.golden", ["pairs.jsonl"]),
        r"pairs\.jsonl:1: found keys",
    ),
    Case(
        "data",
        "plain texts as dialogues",
        pairs("x.jsonl", b'{"chosen": "a", "rejected": "b"}\n'),
        "no dialogue",
    ),
    Case(
        "data",
        "roles out of order",
        pairs("x.jsonl", jsonl([{"chosen": [{"role": "assistant", "content": "a"}], "rejected": []}])),
        "message 1: found role 'assistant'",
    ),
    Case("data", "no folder", no_folder("input"), "input: found no such folder", as_user=True),
    Case(
        "data",
        "a file for the folder",
        both(no_folder("input"), content("input", b"")),
        "input: found a file",
    ),
    Case(
        "data", "files beside the demo", setting("data.source", "demo"), r"input: found 3 files such as 'gold"
    ),
    Case("data", "no name", setting("data.files.comparisons", []), r"data\.files: found no comparisons"),
    Case("data", "an empty name", setting("data.files.comparisons", [""]), "input: found a folder"),
    Case(
        "data", "a name twice", setting("data.files.comparisons", ["pairs.jsonl"] * 2), "'pairs.jsonl' twice"
    ),
    Case("data", "a file outside", setting("data.files.comparisons", ["../golden.jsonl"]), "outside"),
    Case(
        "data",
        "unknown parameter",
        setting("data.files.gold", []),
        r"params\.yaml: data\.files\.gold: found a p",
    ),
    Case(
        "data", "a text for names", setting("data.files.rm", "x"), r"params\.yaml: data\.files\.rm: found 'x'"
    ),
    Case("data", "unknown source", setting("data.source", "csv"), r"params\.yaml: data\.source: found 'csv'"),
    Case("data", "no parameters", gone("params.yaml"), r"params\.yaml: found No such file"),
    Case(
        "data",
        "no YAML",
        content("params.yaml", b"data: [\n"),
        r"params\.yaml: found .*expected YAML",
        as_user=True,
    ),
    Case("data", "a bad seed", setting("seed", -1), r"params\.yaml: seed: found -1"),
    Case("data", "no place to write", out_is_a_file, r"found (File exists|Not a directory)"),
    Case("data", "no right to write", no_rights, "out.*: found Permission denied", skip=os.geteuid() == 0),
    Case("split", "no raw data", no_folder("raw"), r"raw/\w+\.jsonl: found no such file", as_user=True),
    Case("split", "a folder", a_folder("raw/golden.jsonl"), r"raw/golden\.jsonl: found a folder"),
    Case(
        "split",
        "cut off",
        line("raw/comparisons.jsonl", '{"a'),
        r"comparisons\.jsonl:5: found a line that is n",
    ),
    Case(
        "split",
        "not UTF-8",
        content("raw/documents.jsonl", b'{"text": "\xff"}\n'),
        r"documents\.jsonl:1: found b",
    ),
    Case(
        "split",
        "a number",
        row("raw/comparisons.jsonl", query=5),
        r"comparisons\.jsonl:5: found 5 under 'query'",
    ),
    Case(
        "split",
        "no part",
        row("raw/comparisons.jsonl", split=...),
        r"comparisons\.jsonl:5: found no key 'split'",
    ),
    Case(
        "split", "unknown part", row("raw/comparisons.jsonl", split="dev"), "comparison 5: found split 'dev'"
    ),
    Case(
        "split",
        "no golden answer",
        content("raw/golden.jsonl", b""),
        r"of the RM part: found no golden answer.*data\.golden: chosen",
    ),
    Case(
        "split",
        "no document text",
        content("raw/documents.jsonl", b"{}\n"),
        r"documents\.jsonl:1: found no key",
    ),
    Case("split", "impossible value", setting("split.rm_fraction", 1.5), r"split\.rm_fraction: found 1\.5"),
    Case("split", "an empty part", setting("split.test_fraction", 0.0), "part test: found no comparisons"),
    Case("convert", "no samples", gone("samples.jsonl"), r"samples\.jsonl: found no such file"),
    Case(
        "convert", "no id", row("samples.jsonl", query_id=...), r"samples\.jsonl:5: found no key 'query_id'"
    ),
    Case(
        "convert",
        "no samples in a row",
        row("samples.jsonl", samples=...),
        r"samples\.jsonl:5: found samples N",
    ),
    Case(
        "convert",
        "null for a sample",
        row("samples.jsonl", samples=["x", None]),
        r"samples\.jsonl:5: found sa",
    ),
    Case(
        "convert",
        "too many samples",
        row("samples.jsonl", samples=["x"] * 3),
        r"samples\.jsonl:5: found 3 sam",
    ),
    Case(
        "convert",
        "too few samples",
        row("samples.jsonl", samples=["x"]),
        r":5: found 1 samples",
        as_user=True,
    ),
    Case(
        "convert", "lone surrogate", row("samples.jsonl", samples=["x", "\udc00"]), "half of a surrogate pair"
    ),
    Case(
        "convert",
        "a query twice",
        again("samples.jsonl"),
        r"samples\.jsonl:31: found the repeated query_id 'i0'",
    ),
    Case(
        "convert",
        "a golden answer twice",
        again("golden.jsonl"),
        r"golden\.jsonl:31: found the repeated query_id 'i0'",
    ),
    Case(
        "convert",
        "a number as golden",
        row("golden.jsonl", golden=4),
        r"golden\.jsonl:5: found no golden answer",
    ),
    Case(
        "convert",
        "no golden",
        row("golden.jsonl", query_id="z"),
        r"samples\.jsonl:5: found query 'i4' without",
    ),
    Case("convert", "bad count", setting("apo.num_samples", 0), r"params\.yaml: apo\.num_samples: found 0"),
    Case("rjs", "no scores", gone("scores.jsonl"), r"scores\.jsonl: found no such file"),
    Case(
        "rjs", "a sample without score", row("scores.jsonl", scores=[1.0]), r"scores\.jsonl:5: found 1 scores"
    ),
    Case("rjs", "a query without scores", row("scores.jsonl", query_id="z"), r"query 'i4' without rewards"),
    Case(
        "rjs",
        "unknown query",
        again("scores.jsonl", query_id="z"),
        r"scores\.jsonl:31: found rewards of 1 quer",
    ),
    Case(
        "rjs",
        "NaN",
        row("scores.jsonl", scores=[float("nan"), 1]),
        r"scores\.jsonl:5: found nan",
        as_user=True,
    ),
    Case("rjs", "too large", row("scores.jsonl", scores=[10**400, 1]), r"scores\.jsonl:5: found 1000"),
    Case(
        "rjs", "a text", row("scores.jsonl", scores=["1", 1]), r"scores\.jsonl:5: found '1' among the scores"
    ),
    Case("rjs", "null", row("scores.jsonl", scores=None), r"scores\.jsonl:5: found 'scores' None"),
    Case(
        "rjs", "a query twice", again("scores.jsonl"), r"scores\.jsonl:31: found the repeated query_id 'i0'"
    ),
    Case("rjs", "a list as extra", row("samples.jsonl", extra=["a"]), r"samples\.jsonl:5: found 'samples'"),
    Case("rjs", "lone surrogate", row("samples.jsonl", samples=["\ud83d", "y"]), "half of a surrogate pair"),
    Case(
        "rjs",
        "unknown parameter",
        setting("rjs.candidate", 1),
        r"params\.yaml: rjs\.candidate: found a param",
    ),
]
table = pytest.mark.parametrize("case", CASES, ids=[f"{case.stage}: {case.name}" for case in CASES])
as_user = [case for case in CASES if case.as_user]
by_user = pytest.mark.parametrize("case", as_user, ids=[f"{case.stage}: {case.name}" for case in as_user])

ONE_LINE = re.compile(r"[^\n]+: found [^\n]+; expected [^\n]+; [^\n]{8,}")


def left_behind(folder: Path) -> list[str]:
    """Outputs and unfinished files; a folder made for them may stay."""
    made = [path for name in ("out", "out_metrics") for path in (folder / name).rglob("*")]
    return [str(path) for path in [*made, *folder.rglob("*.tmp")]]


@pytest.mark.parametrize("stage", MAINS)
def test_whole_input_passes(tmp_path: Path, stage: str) -> None:
    prepare(tmp_path)
    MAINS[stage](**arguments(stage, tmp_path))
    assert (tmp_path / "out_metrics" / "m.json").is_file()
    assert not list(tmp_path.rglob("*.tmp"))


@table
def test_damage_ends_in_one_message_and_leaves_nothing(tmp_path: Path, case: Case) -> None:
    if case.skip:
        pytest.skip("the superuser may write everywhere")
    prepare(tmp_path)
    case.damage(tmp_path)
    with pytest.raises(UserError, match=case.message) as error:
        MAINS[case.stage](**arguments(case.stage, tmp_path))
    message = " ".join(str(error.value).splitlines())
    assert ONE_LINE.fullmatch(message), message
    assert len(message) < 700 + len(str(tmp_path)) * 3
    assert left_behind(tmp_path) == []


def run(stage: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [word for key, value in arguments(stage, folder).items() for word in (f"--{key}", str(value))]
    return subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@by_user
def test_a_user_sees_one_line_and_exit_code_1(tmp_path: Path, case: Case) -> None:
    prepare(tmp_path)
    case.damage(tmp_path)
    done = run(case.stage, tmp_path)
    assert done.returncode == 1
    assert re.search(case.message, done.stderr)
    assert done.stderr.startswith("error: ")
    assert ONE_LINE.fullmatch(done.stderr.removesuffix("\n")), done.stderr
    assert done.stdout == ""
    assert left_behind(tmp_path) == []


# Data sets of a hub --------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub(folder: Path, **values: str) -> Path:
    (folder / "input").mkdir()
    data = PARAMS["data"] | {"source": "hub", "hub": PARAMS["data"]["hub"] | values}
    (folder / "params.yaml").write_text(json.dumps({"seed": 1, "data": data}))
    return folder


@pytest.mark.parametrize("revision", ["main", "", "v1.0", COMMIT[:7], COMMIT.upper()])
def test_a_revision_that_is_no_commit_is_refused(tmp_path: Path, revision: str) -> None:
    hub(tmp_path, path="Anthropic/hh-rlhf", revision=revision)
    with pytest.raises(UserError, match=rf"data\.hub\.revision: found '{revision}'; expected the 40"):
        stages.data.main(**arguments("data", tmp_path))
    assert left_behind(tmp_path) == []


def test_a_local_data_set_lies_where_dvc_sees_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    hub(tmp_path, path=str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match=r"data\.hub\.path: found the folder .*which DVC watches"):
        stages.data.main(**arguments("data", tmp_path))


def test_a_data_set_without_a_training_split_is_refused(tmp_path: Path) -> None:
    hub(tmp_path, path="Anthropic/hh-rlhf", revision=COMMIT, train="")
    with pytest.raises(UserError, match=r"data\.hub\.train: found ''"):
        stages.data.main(**arguments("data", tmp_path))


def test_a_data_set_that_is_not_in_the_cache_ends_at_once_without_a_network(tmp_path: Path) -> None:
    hub(tmp_path, path="Anthropic/hh-rlhf", revision=COMMIT)
    start = time.monotonic()
    done = run("data", tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert time.monotonic() - start < 30
    assert done.returncode == 1
    last = done.stderr.removesuffix("\n").splitlines()[-1]
    assert last.startswith("error: params.yaml: data.hub: found split 'train' of 'Anthropic/hh-rlhf' ")
    assert "expected a data set in the local cache, or the network" in last
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert left_behind(tmp_path) == []


def test_a_split_that_a_local_data_set_does_not_have_is_named(tmp_path: Path) -> None:
    hub(tmp_path, path=str(tmp_path / "input"), train="training")
    (tmp_path / "input" / "train.jsonl").write_bytes(jsonl(CHOSEN))
    done = run("data", tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == 1
    assert "found split 'training' of" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_behind(tmp_path) == []


# What is no damage ---------------------------------------------------------------------------------


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    found = []
    for change in (lambda data: data, lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")):
        prepare(tmp_path)
        path = tmp_path / P
        path.write_bytes(change(path.read_bytes()))
        stages.data.main(**arguments("data", tmp_path))
        found.append((tmp_path / "out" / "comparisons.jsonl").read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"text": [f"{query(4)}<sep>a", f"{query(5)}<sep>b"]}, "two_queries"),
        ({"text": [f"{query(4)}<sep>a", f"{query(4)}<sep>a "]}, "identical_responses"),
        ({"scores": [1, 1]}, "no_preference"),
    ],
)
def test_a_comparison_that_says_nothing_is_left_out_and_counted(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    prepare(tmp_path)
    rows = [{"text": [f"{query(n)}<sep>a", f"{query(n)}<sep>b"], "scores": [1, 0]} for n in NUMBERS]
    (tmp_path / P).write_bytes(jsonl(rows))
    row(P, **changes)(tmp_path)
    stages.data.main(**arguments("data", tmp_path))
    metrics = json.loads((tmp_path / "out_metrics" / "m.json").read_text())["data"]
    assert metrics["rows"]["comparisons"] == 29
    assert metrics["files"]["comparisons/pairs.jsonl"][f"dropped_{rule}"] == metrics["dropped"] == 1
    assert metrics["issues"][rule] == 1
