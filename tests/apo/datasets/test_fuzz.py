"""Damaged and hostile files against every reader: records or a UserError, nothing else, in bounded time."""

import csv
import gzip
import io
import json
import lzma
import random
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apo.core.config import read_section
from apo.core.data_issues import DataIssues
from apo.core.errors import UserError
from apo.datasets.columns import PROMPTS
from apo.datasets.csv_rows import DELIMITERS
from apo.datasets.file_reader import ReadOptions
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples

PARAMS = Path(__file__).parents[3] / "params.yaml"
ACTIONS = read_section(PARAMS, ROW_ISSUES.section, ROW_ISSUES.settings).actions()
LENIENT = {code: "keep" if action == "keep" else "drop" for code, action in ACTIONS.items()}
READERS: list[Callable[..., Iterator[dict[str, Any]]]] = [
    read_comparisons,
    read_golden,
    read_samples,
    read_demonstrations,
]
Q = "\n\nHuman: Why?\n\nAssistant:"


def use(path: Path, reader: Callable[..., Any], actions: dict[str, Any], options: ReadOptions) -> bool:
    """Reads a file; whether it ended well. What comes out is whole and can be written."""
    issues = DataIssues(ROW_ISSUES, actions)
    counts: Counter[str] = Counter()
    start = _seconds()
    try:
        for row in reader(path, counts, issues, options):
            json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
            assert row["query"].strip() and row["query_id"].strip()
            if "responses" in row:
                assert len(row["responses"]) == len(row["scores"]) > 1
                assert all(row["responses"]) and len(set(row["scores"])) > 1
        ended_well = True
    except UserError as error:
        assert len(str(error)) < 4000
        ended_well = False
    assert _seconds() - start < 10
    return ended_well


def _seconds() -> float:
    """Processor time of this process and those that ended: a busy machine does not change it."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


# Bytes ---------------------------------------------------------------------------------------------


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


REPLIES = [{"text": text, "role": "assistant", "rank": rank, "replies": []} for rank, text in enumerate("ab")]
TREE = {"text": "Why?", "role": "prompter", "message_id": "0", "replies": REPLIES}
MESSAGES: list[dict[str, Any]] = [
    {"message_id": "0", "parent_id": None, "text": "Why?", "role": "prompter", "rank": None},
    {"message_id": "1", "parent_id": "0", "text": "a", "role": "assistant", "rank": 0},
    {"message_id": "2", "parent_id": "0", "text": "b", "role": "assistant", "rank": 1},
]
WHOLE: list[list[dict[str, Any]]] = [
    [{"query": Q, "responses": ["a", "b"], "scores": [1, 0], "query_id": "i", "type": "t"}] * 3,
    [{"text": [f"{Q}<sep>a", f"{Q}<sep>b"], "scores": [1.0, 0.5]}] * 2,
    [{"chosen": f"{Q} a", "rejected": f"{Q} b"}] * 3,
    [{"prompt": "Why?", "chosen": [message("assistant", "a")], "rejected": [message("assistant", "b")]}] * 2,
    [{"prompt": "é\U0001f600", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 2}]}] * 2,
    [{"query": Q, "golden": "a"}] * 2,
    [{"query": Q, "sample_0": "a", "sample_1": "b\n\nHuman: c", "hh_best": "d"}] * 2,
    [{"prompt": "Why?", "response_a": "a", "response_b": "b", "winner": "model_a"}] * 2,
    [{"prompt": '["Why?"]', "response_a": '["a"]', "response_b": '["b"]', "winner_a": 1, "winner_b": 0}] * 2,
    [{"messages": [message("user", "Why?"), message("assistant", "so")]}] * 2,
    [{"instruction": "Why?", "history": [["Hi", "Ho"]], "chosen": "a", "rejected": "b", "tools": ""}] * 2,
    [{"prompt": "Why?", "response1": "a", "response2": "b", "label": n} for n in (1, 2, 2)],
    [{"message_tree_id": "t", "prompt": TREE}] * 2,
    [{**row, "message_tree_id": "t"} for row in MESSAGES],
    [{"query": Q, "samples": ["a", "b"], "rewards": [0.5, 1e-3]}] * 2,
    [{"prompt": "Why?", "answers": '[{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]'}] * 2,
    [{"messages": [message("User", "Why?"), message("Bot", "so")], "label": True}] * 2,
    [{"prompt": "Why?", "chosen": ["a", "b"], "rejected": ["c"]}] * 2,
    [{"prompt": "Why?", "conv_a": "a", "conv_b": "b", "winner": "a"}] * 2,
]
TOKENS = [
    b'"',
    b"\\u0000",
    b"\\ud800",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"null",
    b"NaN",
    b"1e999",
    b"-",
    b"\0",
]
TOKENS += [
    b"\xff",
    b"\xf0\x9f",
    b"\n",
    b"<sep>",
    b"\\n\\nHuman:",
    b"\\n\\nAssistant:",
    b"\xef\xbb\xbf",
    b"9" * 400,
]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """One to four changes anywhere."""
    for _ in range(draw.randint(1, 4)):
        at, to = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        match draw.randrange(6):
            case 0:
                data = data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:at] + draw.choice(TOKENS) + data[at:]
            case 3:
                data = data[:to] + data[at:to] * draw.randint(1, 3) + data[to:]
            case 4:
                data = data[:at]
            case _:
                data = data[:at] + draw.randbytes(draw.randint(1, 8)) + data[at:]
    return data


def parquet(rows: list[dict[str, Any]], folder: Path) -> bytes:
    from pyarrow import Table
    from pyarrow.parquet import write_table

    write_table(Table.from_pylist(rows), folder / "whole.parquet")
    return (folder / "whole.parquet").read_bytes()


def table(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    """What is no text is written as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        writer.writerow({key: one if isinstance(one, str) else json.dumps(one) for key, one in row.items()})
    return text.getvalue().encode()


def files(folder: Path, draw: random.Random) -> Iterator[Path]:
    """Files without end: of every format in every format, damaged before or after they were packed."""
    listed = [json.dumps(rows, ensure_ascii=False).encode() for rows in WHOLE]
    lines = ["\n".join(json.dumps(row) for row in rows).encode() for rows in WHOLE]
    packed = [parquet(rows, folder) for rows in WHOLE]
    tables = {kind: [table(rows, mark) for rows in WHOLE] for kind, mark in DELIMITERS.items()}
    pack = {
        "": bytes,
        ".gz": lambda data: gzip.compress(data, 1, mtime=0),
        ".xz": lambda data: lzma.compress(data, preset=0),
    }
    while True:
        kind = draw.choices([".json", ".jsonl", ".csv", ".tsv", ".parquet"], [100, 100, 30, 10, 1])[0]
        data = draw.choice({".json": listed, ".jsonl": lines, ".parquet": packed, **tables}[kind])
        packing = draw.choice(["", "", "", ".gz", ".xz"]) if kind != ".parquet" else ""
        first = draw.random() < 0.6
        data = damaged(data, draw) if first or not packing else data
        data = pack[packing](data)
        data = damaged(data, draw) if packing and not first else data
        path = folder / f"x{kind}{packing}"
        path.write_bytes(data)
        yield path


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("number", [300, pytest.param(100_000, marks=pytest.mark.fuzz)], ids=["few", "many"])
def test_readers_read_or_refuse_damaged_files(
    tmp_path: Path, number: int, reader: Callable[..., Any]
) -> None:
    draw = random.Random(number)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ended: Counter[bool] = Counter()
    for _, path in zip(range(number), files(tmp_path, draw), strict=False):
        actions = draw.choice([ACTIONS, LENIENT])
        columns = draw.choice([{}] * 9 + [{"prompt": "query", "chosen": "responses.0"}])
        labels = draw.choice([{}] * 9 + [{1: 1, 2: 2, 0: "tie"}])
        options = ReadOptions(columns, labels=labels)
        ended[use(path, reader, actions, options)] += 1
    assert ended[True] > number / 50 and ended[False] > number / 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} <= {"x", "whole"}


# Structure -----------------------------------------------------------------------------------------

NAMES = [*PROMPTS, "responses", "scores", "score", "text", "chosen", "rejected", "chosen_response", "golden"]
NAMES += [
    "rejected_response",
    "samples",
    "sample_0",
    "sample_01",
    "extra",
    "completion",
    "response",
    "output",
]
NAMES += ["messages", "response_0", "response_1", "response_2", "better_response_id", "preference_strength"]
NAMES += ["history", "human_ref_A", "human_ref_B", "labels", "answers", "completions", "conversation_a"]
NAMES += ["response_a", "response_b", "winner_a", "winner_b", "preference", "label", "info", "summaries"]
NAMES += ["chat_history", "system_prompt", "images", "tools", "rewards", "parent_id", "message_id"]
NAMES += ["message_tree_id", "role", "rank", "replies", "is_safe", "kto_tag", "输入", "问题", "历史"]
NAMES += ["ranks", "model_a", "model_b", "response_c", "win", "lose"]
NAMES += ["conversation_b", "winner", "score_0", "score_1", "query_id", "type", "system", "answer"]
TEXTS = st.sampled_from(
    ["", " ", "a", "b", Q, f"{Q} a", f"{Q} b", f"{Q}<sep>a", "\ud800", "\0", "\n\nHuman:", "tie"]
)
SCALARS = TEXTS | st.text(max_size=5) | st.none() | st.booleans() | st.integers() | st.floats()
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "gpt"]) | SCALARS, "content": SCALARS}
)
ENTRY = st.dictionaries(
    st.sampled_from(["answer", "text", "rank", "score", "from", "value", "role", "replies", "speaker"]),
    SCALARS,
    max_size=4,
)
VALUES = st.recursive(SCALARS | TURN | ENTRY, lambda one: st.lists(one, max_size=3), max_leaves=6)
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8), min_size=1, max_size=3)


@st.composite
def nearly_whole(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of one of the formats with a few values or keys changed."""
    rows = [dict(row) for row in draw(st.sampled_from(WHOLE))]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.sampled_from(rows))
        key = draw(st.sampled_from(sorted(row)) | st.sampled_from(NAMES)) if row else "query"
        if draw(st.booleans()):
            row[key] = draw(VALUES)
        else:
            row.pop(key, None)
    return rows


def read_structures(folder: Path, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        rows=ROWS | nearly_whole(),
        reader=st.sampled_from(READERS),
        as_list=st.booleans(),
        actions=st.sampled_from([ACTIONS, LENIENT]),
        format=st.sampled_from(["", "", "", "pairs", "answers", "dialogues"]),
        labeled=st.booleans(),
    )
    def run(
        rows: list, reader: Callable[..., Any], as_list: bool, actions: dict, format: str, labeled: bool
    ) -> None:
        path = folder / ("x.json" if as_list else "x.jsonl")
        path.write_text(json.dumps(rows) if as_list else "".join(json.dumps(row) + "\n" for row in rows))
        labels = {1: 1, 0: "tie"} if labeled else {}
        is_named = reader is read_comparisons
        use(path, reader, actions, ReadOptions(format=format if is_named else "", labels=labels))

    run()


@pytest.mark.parametrize("examples", [100, pytest.param(20_000, marks=pytest.mark.fuzz)], ids=["few", "many"])
@pytest.mark.timeout(7200)
def test_readers_read_or_refuse_rows_of_any_structure(tmp_path: Path, examples: int) -> None:
    read_structures(tmp_path, examples)
