"""apo/export: any record that is exported comes back the same."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apo.core.dialogue import ASSISTANT, HUMAN, cut_runaway, has_turn_marks, query_id_of
from apo.core.records import write_rows
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples
from apo.datasets.written_texts import written
from apo.export.authors import to_authors
from apo.export.write import export
from apo.selection import select
from tests.helpers.reading import read

ODD = st.sampled_from(
    ["\n\n", "\n", " ", "Human", "Assistant", "<se", "sep>", ":", "\u2028", '"', "\\", "\U0001f600"]
)

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")

WRITTEN = st.lists(st.one_of(ODD, st.text(CHARACTERS, max_size=4)), max_size=5).map(
    lambda p: "".join(p).strip()
)

# Without texts in JSON, such as '""': where all answers of a file are such, the reader decodes them.
TEXT = WRITTEN.filter(
    lambda text: bool(text) and "<sep>" not in text and not has_turn_marks(text) and not cut_runaway(text)[1]
).filter(lambda text: not written(text).language)

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
        return read(target, reader=reader).records


@given(st.lists(COMPARISON, min_size=1, max_size=3))
def test_export_of_any_comparison_is_read_back(rows: list[dict]) -> None:
    assert there_and_back(rows, "authors", read_comparisons) == rows


@given(st.lists(PAIR, min_size=1, max_size=3), st.sampled_from(["authors", "pairs", "pairs-chat"]))
def test_export_of_any_pair_is_read_back_from_every_format(rows: list[dict], to: str) -> None:
    assert there_and_back(rows, to, read_comparisons) == rows


@given(st.lists(COMPARISON, min_size=1, max_size=3))
def test_export_of_any_adversarial_row_is_read_back_as_pairs(rows: list[dict]) -> None:
    items = [{**row, "scores": [1.0] + [0.0] * (len(row["responses"]) - 1), "type": "apo"} for row in rows]
    assert there_and_back(items, "authors", read_comparisons) == [
        {**item, "responses": [item["responses"][0], sample], "scores": [1.0, 0.0]}
        for item in items
        for sample in item["responses"][1:]
    ]


@given(st.lists(GOLDEN_ROW, min_size=1, max_size=3))
def test_export_of_any_golden_answer_is_read_back(rows: list[dict]) -> None:
    assert there_and_back(rows, "authors", read_golden) == rows


@given(st.lists(SAMPLED, min_size=1, max_size=3))
def test_export_of_any_samples_is_read_back(rows: list[dict]) -> None:
    assert there_and_back(rows, "authors", read_samples) == rows


@given(st.lists(SHOWN, min_size=1, max_size=3), st.sampled_from(["sft", "sft-chat", "chat"]))
def test_export_of_any_demonstration_is_read_back_from_every_format(rows: list[dict], to: str) -> None:
    assert there_and_back(rows, to, read_demonstrations) == rows


@given(SAMPLED.filter(lambda row: any(row["samples"])), st.data())
def test_export_of_any_selection_is_read_back(row: dict, data: st.DataObject) -> None:
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


def test_export_in_which_every_answer_is_a_text_in_json_comes_back_decoded_and_counted(
    tmp_path: Path,
) -> None:
    """The one exception; a plain answer in the file ends it."""
    queries = [f"{HUMAN} {text}?{ASSISTANT}" for text in ("Why", "How")]
    rows = [named(query, golden='"good"', type="t") for query in queries]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    write_rows(source, rows)
    export(source, target, to="authors", counts=Counter())
    found = read(target, reader=read_golden)
    assert [row["golden"] for row in found.records] == ["good", "good"]
    assert found.counts["texts_in_json"] == 2
    plain = [rows[0], {**rows[1], "golden": "bad"}]
    assert there_and_back(plain, "authors", read_golden) == plain
