"""stages/data.py: files of every format and kind become the same records, and what is left out is counted."""

import json
from collections import Counter
from pathlib import Path

import pytest

from apo.core.dialogue import normalize_query
from apo.core.errors import UserError
from apo.sampling.samples import counted, from_source
from tests.helpers.data_stage import COMMITTED, FORMATS, answer, play, play_files, query, user, write

FILE_NAMES = ["x.json", "x.jsonl", "x.jsonl.gz", "x.jsonl.xz", "x.parquet"]


@pytest.mark.parametrize(
    ("format", "name"),
    [(format, FILE_NAMES[number % len(FILE_NAMES)]) for number, format in enumerate(FORMATS)]
    + [("authors", name) for name in FILE_NAMES],
)
def test_data_gives_the_same_records_for_every_format_and_file_type(
    tmp_path: Path, format: str, name: str
) -> None:
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


def test_data_sorts_files_of_all_kinds(tmp_path: Path) -> None:
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


def test_data_cuts_a_line_human_from_samples_alone(tmp_path: Path) -> None:
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


def test_data_counts_and_lists_a_dropped_row_once(tmp_path: Path) -> None:
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


def test_data_drops_and_counts_a_repeated_golden_answer(tmp_path: Path) -> None:
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


def test_data_can_drop_an_id_of_two_queries_and_a_second_golden_answer(tmp_path: Path) -> None:
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


def test_data_counts_queries_without_golden_answer(tmp_path: Path) -> None:
    files = {
        "x.jsonl": [FORMATS["own"](n) for n in range(3)],
        "g.jsonl": [{"query": query(0), "golden": "g"}],
    }
    _, metrics = play_files(tmp_path, files, comparisons=["x.jsonl"], golden=["g.jsonl"])
    assert metrics["files"]["golden"] == {"queries_without": 2}


def test_data_reports_the_use_of_every_column(tmp_path: Path) -> None:
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


def test_data_gives_a_query_in_two_files_one_id(tmp_path: Path) -> None:
    rows, metrics = play_files(
        tmp_path,
        {"a.jsonl": [FORMATS["own"](0)], "b.jsonl": [FORMATS["plain prompt"](0)]},
        comparisons=["a.jsonl", "b.jsonl"],
    )
    assert {row["query_id"] for row in rows["comparisons"]} == {"i0"}
    assert len({normalize_query(row["query"]) for row in rows["comparisons"]}) == 1
    assert [metrics["files"][f"comparisons/{n}.jsonl"]["rewritten_ids"] for n in "ab"] == [0, 1]


def test_data_writes_no_path_of_the_machine(tmp_path: Path) -> None:
    """Two clones in different folders write the same bytes."""
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        bad = {"chosen": f"{query(0)} a", "rejected": f"{query(0)} a"}
        play_files(folder, {"x.json": [FORMATS["dialogues"](1), bad]}, comparisons=["x.json"])
        contents.append(
            {p.name: p.read_bytes() for p in [*(folder / "raw").iterdir(), folder / "metrics.json"]}
        )
    assert contents[0] == contents[1]


@pytest.mark.parametrize("kinds", [{}, {"rm": ["x"]}, {"llm": ["x"], "golden": ["x"]}])
def test_data_refuses_files_without_comparisons_to_train_on(tmp_path: Path, kinds: dict) -> None:
    with pytest.raises(UserError, match=r"data\.files: found no comparisons to train on"):
        play(tmp_path, source="files", files=kinds)


@pytest.mark.parametrize("name", ["../x.jsonl", "a/../../x.jsonl", "/etc/x.jsonl"])
def test_data_refuses_a_file_outside_the_watched_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path / "x.jsonl", [FORMATS["own"](0)])
    with pytest.raises(UserError, match=r"data\.files\.comparisons: found '.*' outside .*DVC watches"):
        play(tmp_path, source="files", files={"comparisons": [name]})


def test_data_reads_a_link_that_stays_in_the_watched_folder(tmp_path: Path) -> None:
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


def test_data_passes_on_samples_in_the_order_of_the_queries(tmp_path: Path) -> None:
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
    samples = list(
        counted(from_source(queries, rows["samples"], counts, where="s"), origin="source", counts=counts)
    )
    assert samples == [
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
