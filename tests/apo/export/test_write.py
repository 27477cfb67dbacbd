"""apo/export/write.py: files are written whole or not at all, and others open them."""

import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.export.write import FORMATS, export, main
from apo.model.checkpoint import save_reward_model
from apo.model.hh_template import hh_template
from tests.helpers import tiny_models as tiny
from tests.helpers.chat_models import checkpoint
from tests.helpers.exported_rows import APO, COMPARISONS, GOLDEN, OTHER, SAMPLES, SELECTION, Q


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
def test_export_refuses_what_a_format_can_not_hold_and_writes_nothing(
    tmp_path: Path, row: dict, capsys
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    source.write_text("".join(json.dumps(one) + "\n" for one in (COMPARISONS[1], row)))
    with pytest.raises(UserError):
        export(source, target, to="authors", counts=Counter())
    assert main(["--to", "authors", str(source), str(target)]) == 1
    assert "expected" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_export_of_no_rows_is_an_empty_list(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", [])
    assert export(tmp_path / "in.jsonl", tmp_path / "out.json", to="authors", counts=Counter()) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == []


def test_export_drops_and_counts_unfit_rows_on_request(tmp_path: Path, capsys) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    unfit = {**COMPARISONS[1], "query": "\n\nHuman:Why <sep>?\n\nAssistant:"}
    write_rows(source, [COMPARISONS[0], unfit, COMPARISONS[1]])
    for to, rows in (("authors", 2), ("pairs-chat", 4)):
        assert main(["--to", to, str(source), str(target)]) == 1
        assert main(["--to", to, "--leave-out", str(source), str(target)]) == 0
        assert capsys.readouterr().out == f"{target}: {rows} rows; 1 of 3 are left out\n"
    write_rows(source, GOLDEN)  # of another kind altogether
    assert main(["--to", "pairs", "--leave-out", str(source), str(target)]) == 1


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
def test_export_is_opened_by_datasets_and_pandas(tmp_path: Path, rows: list[dict], to: str) -> None:
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
def test_export_takes_no_more_memory_for_more_rows(tmp_path: Path, rows: list[dict], to: str) -> None:
    write_rows(tmp_path / "in.jsonl", (row for _ in range(4_000) for row in rows))
    tracemalloc.start()
    export(tmp_path / "in.jsonl", tmp_path / "out", to=to, counts=Counter())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "in.jsonl").stat().st_size > 800_000
    assert peak < 400_000


# Responses with their scores -----------------------------------------------------------------------


def selection(folder: Path) -> str:
    row = {"query_id": "a", "query": OTHER, "target": "x", "target_index": 0}
    write_rows(folder / "in.jsonl", [row | {"samples": ["x", "y"], "scores": [1.0, 0.0]}])
    return str(folder / "in.jsonl")


@pytest.mark.parametrize("family", ["chatml", "mistral", "alpaca", "zephyr", "none"])
def test_export_with_a_model_writes_what_trl_reads_as_its_chat_template(tmp_path: Path, family: str) -> None:
    """The ids that TRL makes of prompt and answer are those of the template, up to the end token."""
    folder, target = checkpoint(family, tmp_path / "model"), str(tmp_path / "out.jsonl")
    assert main(["--to", "pairs", "--model", str(folder), selection(tmp_path), target]) == 0
    [pair] = read_rows(Path(target))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = tokenizer.chat_template or hh_template()
    for key, text in (("chosen", "x"), ("rejected", "y")):
        messages = [*dialogue_to_messages(OTHER), {"role": "assistant", "content": text}]
        ids = tokenizer.apply_chat_template(messages, return_dict=False)
        end = len(ids) - ids[::-1].index(tokenizer.eos_token_id)
        assert pair[key].endswith(tokenizer.eos_token)  # else TRL adds it
        assert tokenizer(pair["prompt"] + pair[key])["input_ids"] == ids[:end]


def test_export_leaves_out_a_text_that_would_become_a_special_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`TRL` reads the text that it is given: an end in the middle of an answer would be one."""
    model = checkpoint("zephyr", tmp_path / "model")
    row = {"query_id": "a", "query": OTHER, "responses": ["x </s> y", "z"], "scores": [1.0, 0.0]}
    write_rows(tmp_path / "in.jsonl", [row, row | {"query_id": "b", "responses": ["x", "z"]}])
    arguments = ["--model", str(model), str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    assert main(["--to", "pairs", *arguments]) == 1
    assert "in.jsonl:1: found '</s>' in a text" in capsys.readouterr().err
    assert main(["--leave-out", "--to", "pairs", *arguments]) == 0
    assert [row["chosen"] for row in read_rows(tmp_path / "out.jsonl")] == ["x</s>"]


@pytest.mark.parametrize("family", ["gemma", "llama3"])
def test_export_refuses_a_template_whose_turns_have_another_end(
    tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """TRL would add the tokenizer's end token behind the end of the turn."""
    folder = checkpoint(family, tmp_path / "model")
    arguments = ["--to", "sft", "--model", str(folder), selection(tmp_path), str(tmp_path / "out.jsonl")]
    assert main(arguments) == 1
    assert "which TRL then adds; expected one that ends it" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def refusing(folder: Path, policy: str) -> list[str]:
    """Arguments: two comparisons with three pairs each; the template refuses the first, with system text."""
    model = checkpoint("mistral", folder / "model")
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"refused_dialogues": policy}))
    row = {"query_id": "a", "query": f"Be brief.{Q}", "responses": ["x", "y", "z"], "scores": [2.0, 1.0, 0.0]}
    write_rows(folder / "in.jsonl", [row, row | {"query_id": "b", "query": OTHER}])
    return ["--to", "pairs", "--model", str(model), str(folder / "in.jsonl"), str(folder / "out.jsonl")]


@pytest.mark.parametrize("policy", ["error", "drop"])
def test_export_counts_a_refused_row_once_and_only_where_it_may(
    tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = refusing(tmp_path, policy)
    assert main(arguments) == 1 and not (tmp_path / "out.jsonl").exists()
    assert re.search(r"in\.jsonl:1: found a dialogue that .* refuses .*--leave-out", capsys.readouterr().err)
    assert main(["--leave-out", *arguments]) == 0
    assert len(list(read_rows(tmp_path / "out.jsonl"))) == 3
    assert "1 of 2 are left out" in "".join(capsys.readouterr())


def test_export_counts_a_merged_row_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(refusing(tmp_path, "merge")) == 0
    assert capsys.readouterr().out.endswith("out.jsonl: 6 rows; 1 of 2 have merged turns\n")
    assert "Be brief.\n\nWhy?" in next(read_rows(tmp_path / "out.jsonl"))["prompt"]


def test_export_writes_the_separator_of_a_reward_model(tmp_path: Path) -> None:
    """The ids that TRL makes are those that the model scores, and the end token that TRL adds."""
    model, target = tiny.reward_model(tmp_path / "start", separator="<sep>"), tmp_path / "out.jsonl"
    save_reward_model(model, tmp_path / "rm", tiny.CARD)
    assert main(["--to", "pairs", "--model", str(tmp_path / "rm"), selection(tmp_path), str(target)]) == 0
    [pair] = read_rows(target)
    [item] = model.encoder.items([(OTHER, ["x", "y"])], Counter(), where="here")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "rm")
    for index, key in enumerate(("chosen", "rejected")):
        ids = tokenizer(pair["prompt"] + pair[key], add_special_tokens=False)["input_ids"]
        begin = [] if ids[0] == item.prefix[0] else item.prefix[:1]
        assert begin + ids == [*item.sequence(index), tokenizer.eos_token_id]


def test_export_refuses_a_tokenizer_without_an_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoint("chatml", tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"eos_token": None, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    arguments = ["--to", "sft", "--model", str(folder), selection(tmp_path), str(tmp_path / "out.jsonl")]
    assert main(arguments) == 1
    assert "whose tokenizer has no eos_token" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_export_refuses_a_model_for_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "in.jsonl", GOLDEN)
    arguments = ["--to", "sft-chat", "--model", "m", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    assert main(arguments) == 1
    assert "--model: found --to sft-chat; expected one of pairs, sft" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
