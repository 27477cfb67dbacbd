"""Export: what goes out in another tool's format comes back the same."""

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from apo.core.dialogue import (
    ASSISTANT,
    HUMAN,
    cut_runaway,
    dialogue_to_messages,
    has_turn_marks,
    query_id_of,
)
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples
from apo.export.authors import golden_to_authors, samples_to_authors, to_authors
from apo.export.trainers import to_chat, to_chat_pairs, to_chat_sft, to_dialogues, to_pairs, to_sft
from apo.export.write import FORMATS, export, main
from apo.model.hh_template import hh_template
from apo.selection import select
from tests.apo.datasets.test_readers import as_committed
from tests.helpers import reading
from tests.helpers.chat_models import checkpoint

Q = "\n\nHuman: Why?\n\nAssistant:"
OTHER = "\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman: “ß”\n\nAssistant:"
COMPARISONS = [
    {
        "query_id": "a",
        "query": Q,
        "responses": ["x", "y", "z"],
        "scores": [0.5, -2.0, 1e-7],
        "type": "helpful",
    },
    {"query_id": "b", "query": OTHER, "responses": ["x\n\ny", "y"], "scores": [0.0, 1.0], "type": ""},
]
GOLDEN = [
    {"query_id": "a", "query": Q, "golden": "g", "type": "helpful"},
    {"query_id": "b", "query": OTHER, "golden": "h", "type": ""},
]
SAMPLES = [
    {"query_id": "a", "query": Q, "samples": [f"s{n}" for n in range(12)], "extra": {}},
    {"query_id": "b", "query": OTHER, "samples": ["s", ""], "extra": {"hh_best": "h", "gpt4_ans": "g"}},
]
APO = {"query_id": "a", "query": Q, "responses": ["g", "x", "y"], "scores": [1.0, 0.0, 0.0], "type": "apo"}


@pytest.mark.parametrize(
    ("reader", "rows"), [(read_comparisons, COMPARISONS), (read_golden, GOLDEN), (read_samples, SAMPLES)]
)
def test_the_authors_format_comes_back_the_same(tmp_path: Path, reader, rows: list[dict]) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "new" / "out.json"
    write_rows(source, rows)
    assert main(["--to", "authors", str(source), str(target)]) == 0
    back = list(reader(target, Counter(), as_committed()))
    assert back == rows
    assert [list(row) for row in back] == [list(row) for row in rows]
    assert isinstance(json.loads(target.read_text(encoding="utf-8")), list)


def test_the_authors_shapes_to_the_letter() -> None:
    assert list(to_authors(COMPARISONS[0], where="x:1")) == [
        {
            "text": [f"{Q}<sep>x", f"{Q}<sep>y", f"{Q}<sep>z"],
            "scores": [0.5, -2.0, 1e-7],
            "query_id": "a",
            "type": "helpful",
        }
    ]
    assert golden_to_authors({"query_id": "a", "query": Q, "golden": "g", "more": 1}) == {
        "query_id": "a",
        "query": Q,
        "golden": "g",
    }
    assert samples_to_authors(SAMPLES[1]) == {
        "query_id": "b",
        "query": OTHER,
        "sample_0": "s",
        "sample_1": "",
        "hh_best": "h",
        "gpt4_ans": "g",
    }


def test_an_apo_item_becomes_one_pair_a_sample() -> None:
    assert list(to_authors(APO, where="x:1")) == [
        {"text": [f"{Q}<sep>g", f"{Q}<sep>{sample}"], "scores": [1.0, 0.0], "type": "apo"} for sample in "xy"
    ]


def test_scores_become_one_entry_an_answer() -> None:
    row = {"query_id": "a", "scores": [0.25, -1.0], "extra": {"hh_best": 2.0}}
    assert list(to_authors(row, where="x:1")) == [
        {"a:sample_0": 0.25},
        {"a:sample_1": -1.0},
        {"a:hh_best": 2.0},
    ]


def test_pairs_are_those_of_the_ranking_loss() -> None:
    pairs = [(pair["chosen"], pair["rejected"]) for pair in to_pairs(COMPARISONS[0], where="x:1")]
    assert pairs == [(" x", " y"), (" x", " z"), (" z", " y")]
    expected = [{"prompt": Q, "chosen": " g", "rejected": f" {s}"} for s in "xy"]
    assert list(to_pairs(APO, where="x:1")) == expected


def test_pairs_come_back_as_comparisons(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(source, COMPARISONS)
    assert export(source, target, to="pairs", counts=Counter()) == 4
    assert list(read_rows(target))[-1] == {"prompt": OTHER, "chosen": " y", "rejected": " x\n\ny"}
    assert all(row["scores"] == [1.0, 0.0] for row in read_comparisons(target, Counter(), as_committed()))


@pytest.mark.parametrize(
    "row",
    [
        {**COMPARISONS[0], "responses": ["x", "y<sep>", "z"]},
        {**COMPARISONS[0], "query": "\n\nHuman: <sep>?\n\nAssistant:"},
        {**APO, "responses": ["g", "x<sep>y", "z"]},
        {"query_id": "a:b", "scores": [1.0]},
        {"query_id": "a", "scores": [1.0], "extra": {"ans_:x": 1.0}},
        {"query_id": "a", "scores": [float("nan")]},
        {**SAMPLES[1], "samples": []},
        {**SAMPLES[1], "extra": {"best": "not looked for"}},
        {**SAMPLES[1], "extra": {"sample_9": "taken"}},
        {**COMPARISONS[0], "responses": ["x", None, "z"]},
        {**COMPARISONS[0], "scores": [1.0]},
        {"query_id": "a", "query": Q, "response": "r"},
        {"target": "x"},
    ],
)
def test_what_a_format_cannot_hold_is_refused_whole(tmp_path: Path, row: dict, capsys) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    source.write_text("".join(json.dumps(one) + "\n" for one in (COMPARISONS[1], row)))
    with pytest.raises(UserError):
        export(source, target, to="authors", counts=Counter())
    assert main(["--to", "authors", str(source), str(target)]) == 1
    assert "expected" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_only_comparisons_have_pairs(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", GOLDEN)
    with pytest.raises(UserError, match=r"in\.jsonl:1: found golden with keys \['golden'"):
        export(tmp_path / "in.jsonl", tmp_path / "out.jsonl", to="pairs", counts=Counter())


def test_no_rows_are_an_empty_list(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", [])
    assert export(tmp_path / "in.jsonl", tmp_path / "out.json", to="authors", counts=Counter()) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == []


SELECTION = {
    "query_id": "a",
    "query": Q,
    "prompt": Q,
    "completion": " s1",
    "target": "s1",
    "target_index": 1,
    "samples": ["s0", "s1", " ", "s3"],
    "scores": [0.5, 2.0, -9.0, -1.0],
    "margin": 1.5,
}
DIALOGUE = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Ho"},
    {"role": "user", "content": "\u201c\u00df\u201d"},
]


def test_a_selection_is_its_best_against_its_worst() -> None:
    assert list(to_pairs(SELECTION, where="x:1")) == [{"prompt": Q, "chosen": " s1", "rejected": " s3"}]
    assert list(to_chat_pairs({**SELECTION, "query": OTHER}, where="x:1")) == [
        {
            "prompt": DIALOGUE,
            "chosen": [{"role": "assistant", "content": "s1"}],
            "rejected": [{"role": "assistant", "content": "s3"}],
        }
    ]
    assert list(to_dialogues({**SELECTION, "query": OTHER}, where="x:1")) == [
        {
            "chosen": [*DIALOGUE, {"role": "assistant", "content": "s1"}],
            "rejected": [*DIALOGUE, {"role": "assistant", "content": "s3"}],
        }
    ]


@pytest.mark.parametrize(
    "changes",
    [{"scores": [1.0] * 4}, {"samples": ["", "s1", " ", ""]}, {"samples": ["s", "s", "s", "s"]}],
)
def test_a_selection_without_a_preference_has_no_pair_and_is_counted(
    tmp_path: Path, changes: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "in.jsonl", [SELECTION, SELECTION | changes])
    assert main(["--to", "pairs", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]) == 0
    assert capsys.readouterr().out.endswith("out.jsonl: 1 rows; 1 of 2 have no pair\n")


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({**SELECTION, "query": OTHER}, "s1"),
        ({"query_id": "b", "query": OTHER, "golden": "g"}, "g"),
        ({"query_id": "b", "query": OTHER, "response": "r"}, "r"),
    ],
)
def test_one_answer_a_row_for_fine_tuning(row: dict, answer: str) -> None:
    said = {"role": "assistant", "content": answer}
    assert list(to_sft(row, where="x:1")) == [{"prompt": OTHER, "completion": f" {answer}"}]
    assert list(to_chat_sft(row, where="x:1")) == [{"prompt": DIALOGUE, "completion": [said]}]
    assert list(to_chat(row, where="x:1")) == [{"messages": [*DIALOGUE, said]}]


@pytest.mark.parametrize("to", ["sft", "sft-chat", "chat"])
def test_comparisons_and_samples_have_no_single_answer(tmp_path: Path, to: str) -> None:
    for rows in (COMPARISONS, SAMPLES, [{"query_id": "a", "scores": [1.0]}]):
        write_rows(tmp_path / "in.jsonl", rows)
        with pytest.raises(UserError, match="expected a selection, a golden answer or a demonstration"):
            export(tmp_path / "in.jsonl", tmp_path / "out.jsonl", to=to, counts=Counter())


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("\n\nHuman:Why?\n\nAssistant:", "x"),  # no space behind the mark
        ("\n\nHuman: a\n\nHuman: b\n\nAssistant:", "x"),  # twice the same
        (Q, "x\n\nHuman: y"),
    ],
)
def test_what_messages_cannot_hold_is_refused(query: str, answer: str) -> None:
    row = {"query_id": "a", "query": query, "golden": answer}
    assert list(to_sft(row, where="x:1")) == [{"prompt": query, "completion": f" {answer}"}]
    with pytest.raises(UserError, match=r"^x:1"):
        list(to_chat(row, where="x:1"))


def test_rows_that_a_format_cannot_hold_are_left_out_on_request_and_counted(tmp_path: Path, capsys) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    unfit = {**COMPARISONS[1], "query": "\n\nHuman:Why <sep>?\n\nAssistant:"}
    write_rows(source, [COMPARISONS[0], unfit, COMPARISONS[1]])
    for to, rows in (("authors", 2), ("pairs-chat", 4)):
        assert main(["--to", to, str(source), str(target)]) == 1
        assert main(["--to", to, "--leave-out", str(source), str(target)]) == 0
        assert capsys.readouterr().out == f"{target}: {rows} rows; 1 of 3 are left out\n"
    write_rows(source, GOLDEN)  # of another kind altogether
    assert main(["--to", "pairs", "--leave-out", str(source), str(target)]) == 1


# Round trips of any texts ---------------------------------------------------------------------------

ODD = st.sampled_from(
    ["\n\n", "\n", " ", "Human", "Assistant", "<se", "sep>", ":", "\u2028", '"', "\\", "\U0001f600"]
)
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
WRITTEN = st.lists(st.one_of(ODD, st.text(CHARACTERS, max_size=4)), max_size=5).map(
    lambda p: "".join(p).strip()
)
TEXT = WRITTEN.filter(
    lambda text: bool(text) and "<sep>" not in text and not has_turn_marks(text) and not cut_runaway(text)[1]
)
QUERY = st.integers(0, 2).flatmap(
    lambda more: st.lists(TEXT, min_size=2 * more + 1, max_size=2 * more + 1).map(
        lambda texts: (
            "".join(f"{(HUMAN, ASSISTANT)[n % 2]} {text}" for n, text in enumerate(texts)) + ASSISTANT
        )
    )
)
SCORE = st.floats(allow_nan=False, allow_infinity=False)
ANSWERS = st.lists(TEXT, min_size=2, max_size=5, unique=True)
NAME = st.sampled_from(["hh_best", "gpt4", "x_gpt4_y", "ans_1", "my_ans_\u00df"])


def named(query: str, **fields: Any) -> dict[str, Any]:
    return {"query_id": query_id_of(query), "query": query, **fields}


COMPARISON = st.builds(
    lambda query, answers, kind: named(
        query, responses=answers, scores=[float(n) for n in range(len(answers))], type=kind
    ),
    QUERY,
    ANSWERS,
    st.sampled_from(["", "helpful"]),
)
PAIR = COMPARISON.map(
    lambda row: {**row, "responses": row["responses"][:2], "scores": [1.0, 0.0], "type": ""}
)
GOLDEN_ROW = st.builds(lambda query, answer: named(query, golden=answer, type="t"), QUERY, TEXT)
SHOWN = st.builds(lambda query, answer: named(query, response=answer), QUERY, TEXT)
SAMPLED = st.builds(
    lambda query, answers, extra: named(query, samples=answers, extra=extra),
    QUERY,
    st.lists(st.one_of(st.just(""), TEXT), min_size=1, max_size=12),
    st.dictionaries(NAME, TEXT, max_size=2),
)


def there_and_back(rows: list[dict], to: str, reader: Any) -> list[dict]:
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.jsonl", Path(folder) / f"out.json{'l' * (to != 'authors')}"
        write_rows(source, rows)
        export(source, target, to=to, counts=Counter())
        return list(reader(target, Counter(), as_committed()))


@given(st.lists(COMPARISON, min_size=1, max_size=3))
def test_any_comparison_comes_back(rows: list[dict]) -> None:
    assert there_and_back(rows, "authors", read_comparisons) == rows


@given(st.lists(PAIR, min_size=1, max_size=3), st.sampled_from(["authors", "pairs", "pairs-chat"]))
def test_any_pair_comes_back_from_every_format(rows: list[dict], to: str) -> None:
    assert there_and_back(rows, to, read_comparisons) == rows


@given(st.lists(COMPARISON, min_size=1, max_size=3))
def test_any_apo_item_comes_back_as_its_pairs(rows: list[dict]) -> None:
    items = [{**row, "scores": [1.0] + [0.0] * (len(row["responses"]) - 1), "type": "apo"} for row in rows]
    assert there_and_back(items, "authors", read_comparisons) == [
        {**item, "responses": [item["responses"][0], sample], "scores": [1.0, 0.0]}
        for item in items
        for sample in item["responses"][1:]
    ]


@given(st.lists(GOLDEN_ROW, min_size=1, max_size=3))
def test_any_golden_answer_comes_back(rows: list[dict]) -> None:
    assert there_and_back(rows, "authors", read_golden) == rows


@given(st.lists(SAMPLED, min_size=1, max_size=3))
def test_any_samples_come_back(rows: list[dict]) -> None:
    assert there_and_back(rows, "authors", read_samples) == rows


@given(st.lists(SHOWN, min_size=1, max_size=3), st.sampled_from(["sft", "sft-chat", "chat"]))
def test_any_demonstration_comes_back_from_every_format(rows: list[dict], to: str) -> None:
    assert there_and_back(rows, to, read_demonstrations) == rows


@given(SAMPLED.filter(lambda row: any(row["samples"])), st.data())
def test_any_selection_comes_back(row: dict, data: st.DataObject) -> None:
    """Samples, scores and target of a selection, in the authors' format; its target, in the trainers'."""
    row = {**row, "extra": {}}
    scores = data.draw(st.lists(SCORE, min_size=len(row["samples"]), max_size=len(row["samples"])))
    (chosen,) = select(
        [row],
        [{"query_id": row["query_id"], "scores": scores}],
        include_extra=False,
        samples_source="s",
        rewards_source="r",
        counts=Counter(),
    )
    assert there_and_back([chosen], "authors", read_samples) == [row | {"source_rewards": scores}]
    (written,) = to_authors(chosen, where="x:1")
    assert list(written["scores"].values()) == scores
    assert written["target"] == chosen["target"] == written[f"sample_{chosen['target_index']}"]
    expected = [named(row["query"], response=chosen["target"])]
    for to in ("sft", "sft-chat", "chat"):
        assert there_and_back([chosen], to, read_demonstrations) == expected


@given(st.text(CHARACTERS, min_size=1).filter(lambda name: ":" not in name), st.lists(SCORE, min_size=1))
def test_any_scores_come_back_as_the_authors_read_them(query_id: str, scores: list[float]) -> None:
    found: dict[str, dict[str, float]] = {}
    for entry in to_authors({"query_id": query_id, "scores": scores}, where="x:1"):
        ((key, score),) = entry.items()
        own, name = key.split(":")  # a ValueError in theirs where there are more
        found.setdefault(own, {})[name] = score
    assert found == {query_id: {f"sample_{n}": score for n, score in enumerate(scores)}}


# As the authors' scripts read and write it ---------------------------------------------------------


def test_the_rejection_sampling_of_the_authors_reads_what_is_exported(vectors: Any) -> None:
    """Their input files, made from our records, and their output, from our selection."""
    compared = 0
    for case in vectors("rejection_sampling"):
        if case["name"] not in ("plain", "hh_best_skipped", "very_low_scores"):
            continue
        samples = [
            {
                "query_id": row["query_id"],
                "query": row["query"],
                "samples": [row[f"sample_{n}"] for n in range(4)],
                **({"extra": {"hh_best": row["hh_best"]}} if "hh_best" in row else {}),
            }
            for row in case["data"]
        ]
        entries = {key: score for entry in case["scores"] for key, score in entry.items()}
        scores = [
            {
                "query_id": row["query_id"],
                "scores": [entries[f"{row['query_id']}:sample_{n}"] for n in range(4)],
                **({"extra": {"hh_best": entries[f"{row['query_id']}:hh_best"]}} if "extra" in row else {}),
            }
            for row in samples
        ]
        assert [out for row in samples for out in to_authors(row, where="x")] == case["data"]
        assert [out for row in scores for out in to_authors(row, where="x")] == case["scores"]
        if case["name"] == "plain":
            chosen = select(
                samples, scores, include_extra=False, samples_source="s", rewards_source="r", counts=Counter()
            )
            written = [out for row in chosen for out in to_authors(row, where="x")]
            assert written == case["output"]
            assert [list(row) for row in written] == [list(row) for row in case["output"]]
        compared += 1
    assert compared == 3


def test_the_converter_of_the_authors_reads_what_is_exported(vectors: Any) -> None:
    (case,) = (case for case in vectors("apo_data_converter") if case["name"] == "plain")
    samples = [
        {
            "query_id": row["query_id"],
            "query": row["query"],
            "samples": [row[f"sample_{n}"] for n in range(4)],
        }
        for row in case["samples"]
    ]
    assert [out for row in samples for out in to_authors(row, where="x")] == case["samples"]
    golden = [row | {"query": samples[n]["query"]} for n, row in enumerate(case["golden"])]
    assert [out for row in golden for out in to_authors(row, where="x")] == golden  # more keys are not read


# As others open it ---------------------------------------------------------------------------------

OPENED = [
    (COMPARISONS, "authors"),
    (COMPARISONS, "pairs"),
    (COMPARISONS, "pairs-chat"),
    (COMPARISONS, "dialogues"),
    ([APO], "authors"),
    (GOLDEN, "authors"),
    (GOLDEN, "sft"),
    (GOLDEN, "sft-chat"),
    (GOLDEN, "chat"),
    (SAMPLES[:1], "authors"),
    ([SELECTION], "authors"),
    ([SELECTION], "pairs"),
    ([SELECTION], "sft"),
    ([{"query_id": "a", "scores": [1.0, 2.0]}], "authors"),
]


@pytest.mark.parametrize(("rows", "to"), OPENED)
def test_datasets_and_pandas_open_every_export(tmp_path: Path, rows: list[dict], to: str) -> None:
    import datasets
    import pandas

    target = tmp_path / "out.json"
    write_rows(tmp_path / "in.jsonl", rows)
    count = export(tmp_path / "in.jsonl", target, to=to, counts=Counter())
    expected = [out for row in rows for out in FORMATS[to](row, where="x")]
    loaded = datasets.load_dataset(
        "json", data_files=str(target), split="train", cache_dir=str(tmp_path / "cache")
    )
    if len({frozenset(row) for row in expected}) == 1:
        assert list(loaded) == expected
    assert len(loaded) == count
    frame = pandas.read_json(target, lines=to != "authors")
    assert len(frame) == count
    assert set(frame.columns) == {key for row in expected for key in row}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "to"), [(COMPARISONS, "authors"), (COMPARISONS, "pairs-chat"), (GOLDEN, "sft")]
)
def test_more_rows_take_no_more_memory(tmp_path: Path, rows: list[dict], to: str) -> None:
    write_rows(tmp_path / "in.jsonl", (row for _ in range(4_000) for row in rows))
    tracemalloc.start()
    export(tmp_path / "in.jsonl", tmp_path / "out", to=to, counts=Counter())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "in.jsonl").stat().st_size > 800_000
    assert peak < 400_000


# Responses with their scores -----------------------------------------------------------------------


def test_scored_responses_go_out_and_come_in_again(tmp_path: Path) -> None:
    """Samples with the rewards of their source, as they entered; a selection; a comparison."""
    query = "\n\nHuman: Why?\n\nAssistant:"
    samples: dict[str, Any] = {
        "query_id": "a",
        "query": query,
        "samples": ["x", "y"],
        "extra": {},
        "source_rewards": [0.5, -1.0],
    }
    selection = {"query_id": "a", "query": query, "target": "x", "samples": ["x", "y"], "scores": [0.5, -1.0]}
    comparison = {"query_id": "a", "query": query, "responses": ["x", "y"], "scores": [0.5, -1.0]}
    for row in (samples, selection, comparison):
        write_rows(tmp_path / "in.jsonl", [row])
        export(tmp_path / "in.jsonl", tmp_path / "out.jsonl", to="answers", counts=Counter())
        assert list(read_rows(tmp_path / "out.jsonl")) == [
            {
                "query_id": "a",
                "prompt": query,
                "answers": [{"text": "x", "score": 0.5}, {"text": "y", "score": -1.0}],
            }
        ]
        again = reading.read(tmp_path / "out.jsonl", reader=read_samples).records
        assert again == [samples]
    unscored = {"query_id": "a", "query": query, "samples": ["x"]}
    write_rows(tmp_path / "in.jsonl", [unscored])
    with pytest.raises(UserError, match="samples with the rewards of their source"):
        export(tmp_path / "in.jsonl", tmp_path / "no.jsonl", to="answers", counts=Counter())
    assert not (tmp_path / "no.jsonl").exists()


@pytest.mark.parametrize("family", ["chatml", "gemma", "mistral", "alpaca", "none"])
def test_a_model_writes_the_texts_by_its_chat_template(tmp_path: Path, family: str) -> None:
    """Prompt and answer, one behind the other, are the library's text; special tokens are in it."""
    folder = checkpoint(family, tmp_path / "model")
    row = {"query_id": "a", "query": OTHER, "target": "x", "target_index": 0}
    row |= {"samples": ["x", "y"], "scores": [1.0, 0.0]}
    write_rows(tmp_path / "in.jsonl", [row])
    target = str(tmp_path / "out.jsonl")
    assert main(["--to", "pairs", "--model", str(folder), str(tmp_path / "in.jsonl"), target]) == 0
    [found] = read_rows(Path(target))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = tokenizer.chat_template or hh_template()
    for key, text in (("chosen", "x"), ("rejected", "y")):
        messages = [*dialogue_to_messages(OTHER), {"role": "assistant", "content": text}]
        assert found["prompt"] + found[key] == tokenizer.apply_chat_template(messages, tokenize=False)


def test_a_model_is_refused_for_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "in.jsonl", GOLDEN)
    arguments = ["--to", "sft-chat", "--model", "m", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    assert main(arguments) == 1
    assert "--model: found --to sft-chat; expected one of pairs, sft" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
