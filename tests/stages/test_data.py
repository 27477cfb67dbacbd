"""data: the demo world, files of every format and data sets become the same records."""

import gzip
import json
import lzma
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.core.dialogue import normalize_query, query_id_of
from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.datasets.issues import ROW_ISSUES
from apo.demo import preference_probability, true_reward
from apo.sampling.samples import counted, from_source
from stages.data import main

ROOT = Path(__file__).parents[2]
COMMITTED = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["data"]
NAMES = ("comparisons", "golden", "samples", "demonstrations", "documents")
OUTS = {f"{name}.jsonl" for name in (*NAMES, "issues")} | {"truth.json"}
SMALL = {
    "comparisons": 60,
    "test_comparisons": 20,
    "documents": 30,
    "demonstrations": 15,
    "temperature": 0.5,
    "golden_flaws": 0.0,
}

Rows = list[dict[str, Any]]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def answer(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def write(path: Path, rows: Rows) -> None:
    """Rows in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        from pyarrow import Table, parquet

        parquet.write_table(Table.from_pylist(rows), path)
    elif path.name.endswith(".json"):
        path.write_text(json.dumps(rows))
    else:
        pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(lines))


def play(folder: Path, *, seed: int = 1, **data: Any) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Runs the stage in a folder; the rows by file, and the metrics."""
    (folder / "input").mkdir(exist_ok=True)
    params = {"seed": seed, "data": COMMITTED | {"demo": SMALL} | data}
    params["data"]["files"] = COMMITTED["files"] | data.get("files", {})
    (folder / "params.yaml").write_text(json.dumps(params))
    main(folder / "input", folder / "raw", folder / "metrics.json", folder / "params.yaml")
    assert {path.name for path in (folder / "raw").iterdir()} == OUTS
    rows = {name: list(read_rows(folder / "raw" / f"{name}.jsonl")) for name in (*NAMES, "issues")}
    metrics: dict[str, dict[str, Any]] = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() == {"data"}
    assert metrics["data"]["rows"] == {name: len(rows[name]) for name in NAMES}
    assert metrics["data"]["issues"].keys() == ROW_ISSUES.codes.keys()
    on_issue = params["data"]["on_issue"]
    actions = {code: on_issue.get(code, on_issue["default"]) for code in ROW_ISSUES.codes}
    dropped = [n for code, n in metrics["data"]["issues"].items() if actions[code] == "drop"]
    assert metrics["data"]["dropped"] == sum(dropped)
    found = Counter(row["code"] for row in rows["issues"])
    assert found == {code: min(n, 10) for code, n in metrics["data"]["issues"].items() if n}
    return rows, metrics["data"]


def play_files(folder: Path, files: dict[str, Rows], **kinds: list[str]) -> tuple[dict[str, Rows], dict]:
    for name, rows in files.items():
        write(folder / "input" / name, rows)
    return play(folder, source="files", files=kinds)


# The demo world ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Rows], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    rows, metrics = play(folder)
    return folder, rows, metrics


def test_the_demo_gives_what_the_parameters_ask_for(demo: tuple[Path, dict[str, Rows], dict]) -> None:
    folder, rows, metrics = demo
    assert [row["split"] for row in rows["comparisons"]] == [""] * 60 + ["test"] * 20
    assert metrics["rows"] == {
        "comparisons": 80,
        "golden": 80,
        "samples": 0,
        "demonstrations": 15,
        "documents": 60,
    }
    assert (metrics["files"], metrics["dropped"]) == ({}, 0)
    assert json.loads((folder / "raw" / "truth.json").read_text()) == {"temperature": 0.5}


def test_every_demo_query_is_its_own_and_has_a_golden_answer(
    demo: tuple[Path, dict[str, Rows], dict],
) -> None:
    _, rows, _ = demo
    queries = [row["query"] for row in rows["comparisons"]]
    assert len(set(queries)) == 80
    assert {row["query_id"]: row["query"] for row in rows["golden"]} == {
        row["query_id"]: row["query"] for row in rows["comparisons"]
    }
    shown = {row["query"] for row in rows["demonstrations"]}
    assert len(shown) == 15 and not shown & set(queries)
    for row in rows["comparisons"]:
        assert row["query_id"] == query_id_of(row["query"])
        assert list(row) == ["query_id", "query", "responses", "scores", "type", "split"]


def test_golden_answers_are_better_and_preferences_follow_the_truth(
    demo: tuple[Path, dict[str, Rows], dict],
) -> None:
    _, rows, _ = demo
    golden = {row["query"]: true_reward(row["query"], row["golden"]) for row in rows["golden"]}
    agree = expected = better = 0.0
    for row in rows["comparisons"]:
        a, b = row["responses"]
        chosen, rejected = (a, b) if row["scores"][0] > row["scores"][1] else (b, a)
        probability = preference_probability(row["query"], a, b, 0.5)
        expected += max(probability, 1 - probability)
        agree += true_reward(row["query"], chosen) >= true_reward(row["query"], rejected)
        better += golden[row["query"]] > (true_reward(row["query"], a) + true_reward(row["query"], b)) / 2
    assert abs(agree - expected) < 4 * (expected * (1 - expected / 80)) ** 0.5 + 1
    assert better > 60


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(
    demo: tuple[Path, dict[str, Rows], dict], tmp_path: Path
) -> None:
    first, rows, _ = demo
    play(tmp_path)
    for name in OUTS:
        assert (tmp_path / "raw" / name).read_bytes() == (first / "raw" / name).read_bytes(), name
    assert (tmp_path / "metrics.json").read_bytes() == (first / "metrics.json").read_bytes()
    other, _ = play(tmp_path, seed=2)
    assert not {row["query_id"] for row in other["comparisons"]} >= {
        row["query_id"] for row in rows["comparisons"]
    }


def test_more_comparisons_leave_the_earlier_ones_as_they_are(
    demo: tuple[Path, dict[str, Rows], dict], tmp_path: Path
) -> None:
    _, rows, _ = demo
    more, _ = play(tmp_path, demo=SMALL | {"comparisons": 90})
    assert more["comparisons"][:60] == rows["comparisons"][:60]
    assert more["comparisons"][90:] == rows["comparisons"][60:]


def test_flawed_golden_answers_change_nothing_else(
    demo: tuple[Path, dict[str, Rows], dict], tmp_path: Path
) -> None:
    _, rows, _ = demo
    flawed, _ = play(tmp_path, demo=SMALL | {"golden_flaws": 0.5})
    assert {name for name in rows if rows[name] != flawed[name]} == {"golden"}
    changed = sum(one != other for one, other in zip(rows["golden"], flawed["golden"], strict=True))
    assert 25 <= changed <= 55  # of 80


def test_the_demo_plays_with_its_chosen_answers_too(
    demo: tuple[Path, dict[str, Rows], dict], tmp_path: Path
) -> None:
    """Comparisons of the test set give no golden answer, and those of the world's expert are counted."""
    _, rows, _ = demo
    chosen, metrics = play(tmp_path, golden="chosen")
    assert {name for name in rows if rows[name] != chosen[name]} == {"golden"}
    best = {row["query_id"]: row["responses"][row["scores"].index(1.0)] for row in rows["comparisons"][:60]}
    assert {row["query_id"]: row["golden"] for row in chosen["golden"]} == best
    assert metrics["files"] == {
        "chosen": {
            "golden": 60,
            "queries_without": 0,
            "further_comparisons": 0,
            "without_preference": 0,
            "source_golden_unused": 80,
        }
    }


def test_hidden_files_and_the_readme_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    for name in (".gitignore", ".DS_Store", "README.md"):
        (tmp_path / "input" / name).write_text("x")
    play(
        tmp_path, demo=SMALL | {"comparisons": 2, "test_comparisons": 2, "documents": 1, "demonstrations": 1}
    )


# Files ---------------------------------------------------------------------------------------------

FORMATS: dict[str, Any] = {
    "own": lambda q: {"query_id": f"i{q}", "query": query(q), "responses": ["good", "bad"], "scores": [1, 0]},
    "authors": lambda q: {"text": [f"{query(q)}<sep>good", f"{query(q)}<sep>bad"], "scores": [1.0, 0.0]},
    "authors score": lambda q: {"text": [f"{query(q)}<sep>good", f"{query(q)}<sep>bad"], "score": [1, 0]},
    "whole texts": lambda q: {"text": [f"{query(q)} good", f"{query(q)} bad"], "score": [1.0, 0.0]},
    "prompt": lambda q: {"prompt": query(q), "chosen": "good", "rejected": "bad"},
    "plain prompt": lambda q: {"prompt": f"question {q}", "chosen": "good", "rejected": "bad"},
    "dialogues": lambda q: {"chosen": f"{query(q)} good", "rejected": f"{query(q)} bad"},
    "messages": lambda q: {
        "chosen": [user(f"question {q}"), answer("good")],
        "rejected": [user(f"question {q}"), answer("bad")],
    },
    "prompt messages": lambda q: {
        "prompt": [user(f"question {q}")],
        "chosen": [answer("good")],
        "rejected": [answer("bad")],
    },
}
FILE_NAMES = ["x.json", "x.jsonl", "x.jsonl.gz", "x.jsonl.xz", "x.parquet"]


@pytest.mark.parametrize(
    ("format", "name"),
    [(format, FILE_NAMES[number % len(FILE_NAMES)]) for number, format in enumerate(FORMATS)]
    + [("authors", name) for name in FILE_NAMES],
)
def test_every_format_in_every_file_type_is_the_same_records(tmp_path: Path, format: str, name: str) -> None:
    rows, metrics = play_files(tmp_path, {name: [FORMATS[format](q) for q in range(3)]}, comparisons=[name])
    for number, row in enumerate(rows["comparisons"]):
        row.pop("query_id")
        assert row == {
            "query": query(number),
            "responses": ["good", "bad"],
            "scores": [1.0, 0.0],
            "type": name.partition(".")[0],  # of the file, where the rows say none
            "split": "",
        }
    assert len(rows["comparisons"]) == 3
    assert [row["text"] for row in rows["documents"]] == [f"{query(q)} good" for q in range(3)]
    counts = metrics["files"][f"comparisons/{name}"]
    assert (counts["rows"], counts["kept"]) == (3, 3)
    assert json.loads((tmp_path / "raw" / "truth.json").read_text()) == {}


def test_all_kinds_of_files_in_subfolders_go_where_they_belong(tmp_path: Path) -> None:
    pairs = {part: [FORMATS["dialogues"](f"{part} {n}") for n in range(2)] for part in ("rm", "llm", "test")}
    golden = [{"query_id": 7, "query": query("rm 0"), "golden": "gold"}]
    samples = [{"query": query("rm 0"), "sample_0": "s", "sample_1": "t\n\nHuman: u", "hh_best": "h"}]
    rows, metrics = play_files(
        tmp_path,
        {
            "pairs/rm.jsonl": pairs["rm"],
            "pairs/llm.json": pairs["llm"],
            "test.parquet": pairs["test"],
            "golden.jsonl.gz": golden,
            "samples.jsonl": samples,
            "sft.json": [{"messages": [user("Hi"), answer("Hello")]}, {"messages": [user("a"), answer(" ")]}],
        },
        rm=["pairs/rm.jsonl"],
        llm=["pairs/llm.json"],
        test=["test.parquet"],
        golden=["golden.jsonl.gz"],
        samples=["samples.jsonl"],
        demonstrations=["sft.json"],
    )
    assert [row["split"] for row in rows["comparisons"]] == ["rm"] * 2 + ["llm"] * 2 + ["test"] * 2
    first = rows["comparisons"][0]["query_id"]
    assert [(row["query_id"], row["golden"]) for row in rows["golden"]] == [(first, "gold")]
    assert metrics["files"]["golden/golden.jsonl.gz"]["rewritten_ids"] == 1
    assert rows["samples"] == [
        {"query_id": first, "query": query("rm 0"), "samples": ["s", "t"], "extra": {"hh_best": "h"}}
    ]
    assert [row["response"] for row in rows["demonstrations"]] == ["Hello"]
    assert [(row["where"], row["code"]) for row in rows["issues"]] == [("sft.json: row 2", "empty_response")]
    texts = [row["text"] for row in rows["documents"]]
    assert len(texts) == 5  # no text of the test file
    assert not any("test" in text for text in texts)


def test_a_line_human_is_cut_from_samples_alone(tmp_path: Path) -> None:
    """What a person may have written stays whole in every file: a list of mammals."""
    text = "Two mammals:\nHuman\nWhale"
    rows, _ = play_files(
        tmp_path,
        {
            "x.jsonl": [{"prompt": query(0), "chosen": text, "rejected": "bad"}],
            "g.jsonl": [{"query": query(0), "golden": text}],
            "d.jsonl": [{"prompt": query(1), "completion": text}],
            "s.jsonl": [{"query": query(0), "sample_0": text, "hh_best": text}],
        },
        comparisons=["x.jsonl"],
        golden=["g.jsonl"],
        demonstrations=["d.jsonl"],
        samples=["s.jsonl"],
    )
    assert rows["comparisons"][0]["responses"] == [text, "bad"]
    assert rows["golden"][0]["golden"] == rows["demonstrations"][0]["response"] == text
    assert [row["text"] for row in rows["documents"]] == [f"{query(n)} {text}" for n in range(2)]
    assert rows["samples"][0] | {"query_id": ""} == {
        "query_id": "",
        "query": query(0),
        "samples": ["Two mammals:"],
        "extra": {"hh_best": text},
    }


def test_a_row_that_is_left_out_is_counted_and_listed_once(tmp_path: Path) -> None:
    bad = [
        {"text": [f"{query(1)}<sep>a", f"{query(2)}<sep>b"], "scores": [1, 0]},
        {"text": [f"{query(1)}<sep>a", f"{query(1)}<sep>a"], "scores": [1, 0]},
        {"text": [f"{query(1)}<sep>a", f"{query(1)}<sep>b"], "scores": [1, 1]},
        {"text": [f"{query(1)}<sep>a", f"{query(1)}<sep>"], "scores": [1, 0]},
    ]
    rows, metrics = play_files(tmp_path, {"x.jsonl": [FORMATS["authors"](0), *bad]}, comparisons=["x.jsonl"])
    rules = ["two_queries", "identical_responses", "no_preference", "empty_response"]
    assert [(row["where"], row["code"]) for row in rows["issues"]] == [
        (f"x.jsonl:{number}", rule) for number, rule in enumerate(rules, start=2)
    ]
    assert metrics["dropped"] == 4
    assert all(metrics["files"]["comparisons/x.jsonl"][f"dropped_{rule}"] == 1 for rule in rules)
    assert len(rows["comparisons"]) == len(rows["documents"]) == 1


def test_an_equal_golden_answer_is_left_out_and_counted(tmp_path: Path) -> None:
    golden = [{"query": query(0), "golden": "g"}, {"query": query("0!"), "golden": " g"}]
    rows, metrics = play_files(
        tmp_path,
        {"x.jsonl": [FORMATS["own"](0)], "g.jsonl": golden},
        comparisons=["x.jsonl"],
        golden=["g.jsonl"],
    )
    assert [row["query_id"] for row in rows["golden"]] == ["i0"]
    assert metrics["files"]["golden"] == {"dropped_golden_repeated": 1, "queries_without": 0}
    assert metrics["issues"]["golden_repeated"] == 1


def test_an_id_of_two_queries_and_a_second_golden_answer_can_be_left_out(tmp_path: Path) -> None:
    golden = [{"query": query(0), "golden": "g"}, {"query": query(0), "golden": "other"}]
    for name, rows in {
        "x.jsonl": [FORMATS["own"](0), {**FORMATS["own"](1), "query_id": "i0"}],
        "g.jsonl": golden,
    }.items():
        write(tmp_path / "input" / name, rows)
    on_issue = COMMITTED["on_issue"] | {"id_of_two_queries": "drop", "two_golden": "drop"}
    files = {"comparisons": ["x.jsonl"], "golden": ["g.jsonl"]}
    rows, metrics = play(tmp_path, source="files", files=files, on_issue=on_issue)
    assert len(rows["comparisons"]) == len(rows["golden"]) == 1
    counts = metrics["files"]["comparisons/x.jsonl"]
    assert (counts["rows"], counts["kept"], counts["dropped_id_of_two_queries"]) == (2, 1, 1)
    assert metrics["issues"]["two_golden"] == metrics["issues"]["id_of_two_queries"] == 1
    assert metrics["dropped"] == 2


def test_queries_without_golden_answer_are_counted(tmp_path: Path) -> None:
    files = {
        "x.jsonl": [FORMATS["own"](n) for n in range(3)],
        "g.jsonl": [{"query": query(0), "golden": "g"}],
    }
    _, metrics = play_files(tmp_path, files, comparisons=["x.jsonl"], golden=["g.jsonl"])
    assert metrics["files"]["golden"] == {"queries_without": 2}


def test_the_metrics_say_what_every_column_is_read_as(tmp_path: Path) -> None:
    comparisons = FORMATS["plain prompt"](0) | {"history": [["Hi", "Ho"]], "source": "s"}
    golden = {"query": query(0), "golden": "g", "annotator": 3}
    _, metrics = play_files(
        tmp_path, {"x.jsonl": [comparisons], "g.jsonl": [golden]}, comparisons=["x.jsonl"], golden=["g.jsonl"]
    )
    assert metrics["columns"] == {
        "comparisons/x.jsonl": {
            "prompt": "prompt",
            "chosen": "chosen",
            "rejected": "rejected",
            "history": "earlier turns",
            "source": "not read",
        },
        "golden/g.jsonl": {"query": "query", "golden": "golden", "annotator": "not read"},
    }


def test_the_same_query_in_two_files_has_one_id(tmp_path: Path) -> None:
    rows, metrics = play_files(
        tmp_path,
        {"a.jsonl": [FORMATS["own"](0)], "b.jsonl": [FORMATS["plain prompt"](0)]},
        comparisons=["a.jsonl", "b.jsonl"],
    )
    assert {row["query_id"] for row in rows["comparisons"]} == {"i0"}
    assert len({normalize_query(row["query"]) for row in rows["comparisons"]}) == 1
    assert [metrics["files"][f"comparisons/{n}.jsonl"]["rewritten_ids"] for n in "ab"] == [0, 1]


def test_nothing_that_is_written_names_the_machine(tmp_path: Path) -> None:
    """Two clones in different folders write the same bytes."""
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        bad = {"chosen": f"{query(0)} a", "rejected": f"{query(0)} a"}
        play_files(folder, {"x.json": [FORMATS["dialogues"](1), bad]}, comparisons=["x.json"])
        found.append({p.name: p.read_bytes() for p in [*(folder / "raw").iterdir(), folder / "metrics.json"]})
    assert found[0] == found[1]


@pytest.mark.parametrize("kinds", [{}, {"rm": ["x"]}, {"llm": ["x"], "golden": ["x"]}])
def test_files_without_comparisons_to_train_on_are_refused(tmp_path: Path, kinds: dict) -> None:
    with pytest.raises(UserError, match=r"data\.files: found no comparisons to train on"):
        play(tmp_path, source="files", files=kinds)


@pytest.mark.parametrize("name", ["../x.jsonl", "a/../../x.jsonl", "/etc/x.jsonl"])
def test_a_file_outside_the_folder_that_dvc_watches_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "x.jsonl", [FORMATS["own"](0)])
    with pytest.raises(UserError, match=r"data\.files\.comparisons: found '.*' outside .*DVC watches"):
        play(tmp_path, source="files", files={"comparisons": [name]})


def test_a_link_is_read_where_it_stays_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "input" / "own.jsonl", [FORMATS["own"](0)])
    (tmp_path / "input" / "x.jsonl").symlink_to(tmp_path / "input" / "own.jsonl")
    rows, _ = play(tmp_path, source="files", files={"comparisons": ["x.jsonl"]})
    assert len(rows["comparisons"]) == 1
    (tmp_path / "input" / "own.jsonl").rename(tmp_path / "elsewhere.jsonl")
    (tmp_path / "input" / "x.jsonl").unlink()
    (tmp_path / "input" / "x.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(UserError, match=r"'x\.jsonl' outside .*a link has to stay in the folder"):
        play(tmp_path, source="files", files={"comparisons": ["x.jsonl"]})
    (tmp_path / "input" / "x.jsonl").unlink()
    (tmp_path / "input" / "sub").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"'sub/elsewhere\.jsonl' outside"):
        play(tmp_path, source="files", files={"comparisons": ["sub/elsewhere.jsonl"]})
    (tmp_path / "input" / "x.jsonl").symlink_to("x.jsonl")
    with pytest.raises(UserError, match="no such file"):
        play(tmp_path, source="files", files={"comparisons": ["x.jsonl"]})


# A data set ----------------------------------------------------------------------------------------


def play_hub(folder: Path, **hub: str) -> subprocess.CompletedProcess[str]:
    """The stage in a process of its own without a network, as a library with global state is in it."""
    params = {"seed": 1, "data": COMMITTED | {"source": "hub", "hub": COMMITTED["hub"] | hub}}
    (folder / "params.yaml").write_text(json.dumps(params))
    (folder / "input").mkdir(exist_ok=True)
    paths = {"input": "input", "out": "raw", "metrics": "metrics.json", "params": "params.yaml"}
    arguments = [word for name, path in paths.items() for word in (f"--{name}", path)]
    return subprocess.run(
        [sys.executable, "-m", "stages.data", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "PATH": ""},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_local_data_set_is_loaded_without_a_network(tmp_path: Path, suffix: str) -> None:
    rows = [FORMATS["dialogues"](n) for n in range(4)]
    write(
        tmp_path / "input" / "hh" / f"train.{suffix}",
        [*rows, {"chosen": rows[0]["chosen"]} | {"rejected": rows[1]["rejected"]}],
    )
    write(tmp_path / "input" / "hh" / f"test.{suffix}", [FORMATS["dialogues"]("of test")])
    done = play_hub(tmp_path, path="input/hh", test="test")
    assert done.returncode == 0, done.stderr
    comparisons = list(read_rows(tmp_path / "raw" / "comparisons.jsonl"))
    assert [row["query"] for row in comparisons] == [query(n) for n in [*range(4), "of test"]]
    assert [row["split"] for row in comparisons] == [""] * 4 + ["test"]
    (found,) = read_rows(tmp_path / "raw" / "issues.jsonl")
    assert (found["where"], found["code"]) == ("split 'train' of input/hh: row 5", "two_queries")


# Samples of the source -----------------------------------------------------------------------------


def test_samples_of_the_source_come_through_in_the_order_of_the_queries(tmp_path: Path) -> None:
    brought = [
        {"query": query(1), "sample_0": " b", "sample_1": "c\n\nHuman: d", "hh_best": "h"},
        {"query": query(0), "samples": ["a", ""]},
        {"query": query(9), "samples": ["unused"]},
    ]
    rows, _ = play_files(
        tmp_path,
        {
            "x.jsonl": [FORMATS["own"](n) for n in range(2)],
            "numbered.jsonl": brought[:1],
            "own.jsonl": brought[1:],
        },
        comparisons=["x.jsonl"],
        samples=["numbered.jsonl", "own.jsonl"],
    )
    queries = [{"query_id": f"i{n}", "query": query(n), "type": ""} for n in range(2)]
    counts: Counter[str] = Counter()
    found = list(
        counted(from_source(queries, rows["samples"], counts, where="s"), origin="source", counts=counts)
    )
    assert found == [
        {**queries[0], "samples": ["a", ""], "made_by": "source"},
        {**queries[1], "samples": ["b", "c"], "extra": {"hh_best": "h"}, "made_by": "source"},
    ]
    assert counts == {
        "queries": 2,
        "samples": 4,
        "samples_cut": 0,  # cut, and counted, when the file was read
        "samples_blank": 1,
        "words": 3,
        "queries_all_equal": 0,
    }


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a"], "s: found no samples of query 'b'; .*sample.PART.origin: actor"),
        (["a", "b", "a"], "s:3: found samples of query 'a' for a second time"),
    ],
)
def test_samples_that_lack_or_come_twice_are_refused(ids: list[str], message: str) -> None:
    samples = [{"query_id": name, "query": query(name), "samples": ["x"]} for name in ids]
    queries = [{"query_id": name, "query": query(name)} for name in "ab"]
    with pytest.raises(UserError, match=message):
        list(from_source(queries, samples, Counter(), where="s"))
