"""apo/datasets/trees.py: ranked replies are comparisons, the path above them is the query."""

import csv
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_comparisons, read_demonstrations
from tests.helpers.inspected import report_of
from tests.helpers.reading import read, write

FIELDS = {"lang": "en", "review_count": 3, "emojis": {"name": ["+1"]}}


def message(name: str, role: str, text: str, rank: int | None = None, *replies: dict, **more: Any) -> dict:
    one = {"message_id": name, "role": role, "text": text, "rank": rank, "replies": list(replies)}
    return one | FIELDS | more


LAST = message("m12", "assistant", "x")
TREE = {
    "message_tree_id": "m1",
    "tree_state": "ready_for_export",
    "prompt": message(
        "m1",
        "prompter",
        "Why?",
        None,
        message("m2", "assistant", "bad", 1),
        message(
            "m3",
            "assistant",
            "good",
            0,
            message(
                "m4",
                "prompter",
                "And how?",
                None,
                message("m5", "assistant", "well", 0),
                message("m6", "assistant", "so", 2),
                message("m7", "assistant", "badly", 1),
                message("m8", "assistant", "unranked"),
                message("m9", "assistant", "gone", 3, deleted=True),
            ),
        ),
        message(
            "m10",
            "assistant",
            "fair",
            2,
            message("m11", "prompter", "Oh?", 0, message("m12", "assistant", "x")),
        ),
    ),
}
WANTED = [
    ("\n\nHuman: Why?\n\nAssistant:", "good > bad > fair"),
    ("\n\nHuman: Why?\n\nAssistant: good\n\nHuman: And how?\n\nAssistant:", "well > badly > so"),
]


def flat(tree: dict[str, Any], node: dict | None = None, parent: str | None = None) -> list[dict[str, Any]]:
    """The messages of a tree as rows, each behind its parent."""
    node = node or tree["prompt"]
    row = {key: value for key, value in node.items() if key != "replies"}
    rows = [row | {"parent_id": parent, "message_tree_id": tree["message_tree_id"]}]
    for reply in node["replies"]:
        rows += flat(tree, reply, node["message_id"])
    return rows


@pytest.mark.parametrize("rows", [[TREE], flat(TREE)], ids=["a tree a row", "a message a row"])
def test_comparisons_in_takes_ranked_replies(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    result = read(tmp_path, rows)
    assert result.ranked == WANTED
    assert result.counts["rows"] == len(rows) and result.counts["kept"] == 2
    assert (result.counts["replies_without_rank"], result.counts["replies_alone"]) == (2, 1)
    assert set(result.columns) == {key for row in rows for key in row}
    assert {
        result.columns[key] for key in ("lang", "review_count", "tree_state") if key in result.columns
    } == {"not read"}


def test_comparisons_in_names_a_tree_that_comes_again(tmp_path: Path) -> None:
    other = TREE | {"message_tree_id": "n1"}
    rows = [*flat(TREE), *({**row, "message_id": f"n{row['message_id']}"} for row in flat(other))]
    for row in rows[len(flat(TREE)) :]:
        row["parent_id"] = row["parent_id"] and f"n{row['parent_id']}"
    assert read(tmp_path, rows).ranked == WANTED * 2
    with pytest.raises(UserError, match=r"x\.jsonl:25: found a message of a tree whose parent"):
        read(tmp_path, [*rows, rows[1]])


def test_read_demonstrations_takes_the_best_reply_of_a_tree(tmp_path: Path) -> None:
    result = read(tmp_path, [TREE], read_demonstrations)
    assert [row["response"] for row in result.records] == ["good", "well"]


@pytest.mark.parametrize("name", [{"a": 1}, ["x"], None, 3])
def test_comparisons_in_reads_or_names_an_id_of_any_type(tmp_path: Path, name: Any) -> None:
    rows = [row | {"message_tree_id": name} for row in flat(TREE)]
    assert read(tmp_path, rows).ranked == WANTED
    with pytest.raises(UserError, match="a message of a tree whose parent"):
        read(tmp_path, [rows[0], rows[1] | {"parent_id": "nobody"}])


def test_comparisons_in_names_a_broken_tree(tmp_path: Path) -> None:
    broken = TREE | {"prompt": TREE["prompt"] | {"replies": [3]}}
    with pytest.raises(UserError, match=r"x\.jsonl:2: found a reply that is no message"):
        read(tmp_path, [TREE, broken])


FLAGS = [{"deleted": True}, {"deleted": "yes"}, {"review_result": False}, {"spam": True}, {"is_toxic": 1}]


@pytest.mark.parametrize("flag", FLAGS)
def test_comparisons_in_leaves_out_what_is_deleted_or_unwanted(tmp_path: Path, flag: dict[str, Any]) -> None:
    """The best reply, the root, and a parent of ranked replies."""
    root = TREE["prompt"]
    bad, good, fair = root["replies"]
    best = {"prompt": root | {"replies": [bad, good | flag, fair]}}
    result = read(tmp_path, [best | {"message_tree_id": "m1"}])
    assert result.ranked == [(WANTED[0][0], "bad > fair")]
    assert (result.counts["replies_below_deleted"], result.counts["replies_without_rank"]) == (3, 1)
    question = good | {"replies": [good["replies"][0] | flag]}
    result = read(tmp_path, [{"prompt": root | {"replies": [bad, question, fair]}}])
    assert (result.ranked, result.counts["replies_below_deleted"]) == ([WANTED[0]], 3)
    other = {"message_tree_id": "n1", "prompt": root | flag}
    result = read(tmp_path, [TREE, other])
    assert (result.ranked, result.counts["replies_below_deleted"]) == (WANTED, 6)


@pytest.mark.parametrize(
    "flag", [{"deleted": False}, {"deleted": "False"}, {"review_result": True}, {"spam": 0}]
)
def test_comparisons_in_takes_messages_with_flags_of_wanted_ones(tmp_path: Path, flag: dict) -> None:
    root = TREE["prompt"] | flag
    replies = [reply | flag for reply in root["replies"]]
    labels = {"labels": {"spam": {"value": 0.0, "count": 3}}, "detoxify": {"toxicity": 0.9}}
    assert read(tmp_path, [{"prompt": root | labels | {"replies": replies}}]).ranked == WANTED


def test_comparisons_in_reads_a_tree_below_a_message(tmp_path: Path) -> None:
    """One message a row, with its replies inside, as OpenAssistant's messages of one language are."""
    root = TREE["prompt"] | {"parent_id": None}
    assert read(tmp_path, [root]).ranked == WANTED


def test_comparisons_in_reads_trees_of_a_table(tmp_path: Path) -> None:
    rows = [row | {"deleted": row.get("deleted", False)} for row in flat(TREE)]
    with (tmp_path / "x.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    assert read(tmp_path / "x.csv").ranked == WANTED


def test_comparisons_in_reads_trees_of_parquet(tmp_path: Path) -> None:
    """As the hub has them: `parent_id` and `rank` of a root are null."""
    rows = [row | {"review_result": True, "deleted": row.get("deleted", False)} for row in flat(TREE)]
    path = write(tmp_path / "x.parquet", rows)
    result = read(path)
    assert result.ranked == WANTED
    assert result.columns["review_result"] == "whether the message counts"
    report = report_of(path)
    assert (report.usable, report.kept) == (True, 2)


@pytest.mark.parametrize("best", ["0", "0.0", -1, "-1"])
def test_comparisons_in_reads_ranks_in_texts(tmp_path: Path, best: Any) -> None:
    root = TREE["prompt"]
    ranks = {"m2": "1", "m3": best, "m10": "2"}
    replies = [reply | {"rank": ranks[reply["message_id"]]} for reply in root["replies"]]
    assert read(tmp_path, [{"prompt": root | {"replies": replies}}]).ranked == WANTED


@pytest.mark.parametrize("rank", ["first", True, [0], "1st"])
@pytest.mark.parametrize("reader", [read_comparisons, read_demonstrations])
def test_comparisons_in_names_a_rank_that_is_no_number(tmp_path: Path, rank: Any, reader: Any) -> None:
    root = TREE["prompt"]
    replies = [root["replies"][0] | {"rank": rank}, *root["replies"][1:]]
    broken = {"prompt": root | {"replies": replies}}
    with pytest.raises(UserError, match=r"x\.jsonl:2: found .* in 'rank'; expected finite numbers"):
        read(tmp_path, [TREE, broken], reader)
    assert read(tmp_path, [TREE, broken], reader, {"bad_score": "drop"}).issues["bad_score"] == 1
