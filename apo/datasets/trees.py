"""Trees of messages, as OpenAssistant publishes them: ranked replies to one message are a comparison.

A file has one tree per row (`prompt` with `replies`), or one message per row, with the messages of a tree
together. The path above the replies is the prompt.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.column_use import NOT_READ
from apo.datasets.csv_rows import Cell
from apo.datasets.fields import filled, number_in
from apo.datasets.flags import flag_issue, unwanted_flag
from apo.datasets.rows import LocatedRow

_ROLES = {
    **dict.fromkeys(("message_id", "parent_id", "message_tree_id"), "place in the tree"),
    "prompt": "tree of messages",
    "text": "message",
    "role": "role of the message",
    "rank": "rank",
    **dict.fromkeys(("deleted", "review_result", "spam"), "whether the message counts"),
    "replies": "tree of messages",
}
TREE_KEYS = ("message_id", "parent_id", "text", "role")  # of a message; the parent of a root is null
_MAX_DEPTH = 1000  # messages of a path
Messages = list[dict[str, Any]]


def is_tree(row: Row) -> bool:
    """Whether a row is a tree, or a message of one."""
    return _is_whole(row) or row.keys() >= {*TREE_KEYS}


def _is_whole(row: Row) -> bool:
    prompt = row.get("prompt")
    return isinstance(prompt, dict) and ("replies" in prompt or "message_tree_id" in row)


def comparisons_in(
    rows: Iterator[LocatedRow], counts: Counter[str], uses: dict[str, str]
) -> Iterator[LocatedRow]:
    """Rows {prompt: messages, answers: [{text, rank}]} for every message with two or more ranked replies.

    Args:
        rows: The rows of the file.
        counts: Receives `replies_without_rank`, with the deleted and the unwanted ones, `replies_alone`, and
            `replies_below_deleted`, ranked ones below a message that is deleted or unwanted.
        uses: Receives the role of each column.
    """
    for located, roots in _trees(_record_uses(rows, uses)):
        if isinstance(located.row, RowError):
            yield located
            continue
        try:
            for root in roots:
                for row in _ranked_below(root, counts, located.where):
                    yield located._replace(row=row)
        except RowError as error:
            yield located._replace(row=error)


def _record_uses(rows: Iterator[LocatedRow], uses: dict[str, str]) -> Iterator[LocatedRow]:
    for located in rows:
        if not isinstance(located.row, RowError) and not located.row.keys() <= uses.keys():
            uses |= {key: _ROLES.get(key, NOT_READ) for key in located.row}
        yield located


def _trees(rows: Iterator[LocatedRow]) -> Iterator[tuple[LocatedRow, list[Row]]]:
    """Every tree with the row at which it begins."""
    tree: dict[str, Row] = {}
    start: LocatedRow | None = None
    last_id, finished = "", set[str]()
    for located in rows:
        row = located.row
        if isinstance(row, RowError) or _is_whole(row):
            yield located, [] if isinstance(row, RowError) else [row["prompt"]]
            continue
        tree_id = str(row.get("message_tree_id"))
        if start is None or tree_id != last_id:
            if start is not None:
                yield start, _roots(tree)
                finished.add(last_id)
            tree, start, last_id = {}, located, tree_id
        nested = row.get("replies")  # a message may come with the tree below it
        row = row | {"replies": [*nested] if isinstance(nested, list) else []}
        message_id, parent_id = str(row.get("message_id")), _parent_of(row)
        is_orphan = parent_id is not None and str(parent_id) not in tree
        if tree_id in finished or message_id in tree or is_orphan:
            yield located._replace(row=_out_of_order(located.where)), []
            continue
        tree[message_id] = row
        if parent_id is not None:
            tree[str(parent_id)]["replies"].append(row)
    if start is not None:
        yield start, _roots(tree)


def _parent_of(row: Row) -> Any:
    """The id of the parent; None for a root, which is blank in a table."""
    parent = row.get("parent_id")
    is_none = parent != parent or (isinstance(parent, Cell) and parent.strip().lower() in ("", "null", "nan"))
    return None if is_none else parent


def _roots(tree: dict[str, Row]) -> list[Row]:
    return [row for row in tree.values() if _parent_of(row) is None]


def _out_of_order(where: str) -> RowError:
    return RowError(
        "role_order",
        where,
        found="a message of a tree whose parent is not in an earlier row of the tree",
        expected="the messages of a tree one after the other, each behind its parent",
        do="sort the rows by message_tree_id and created_date, or use the file with a tree a row",
    )


def _ranked_below(root: Any, counts: Counter[str], where: str) -> Iterator[Row]:
    stack: list[tuple[Any, Messages, bool]] = [(root, [], False)]
    while stack:
        node, parents, is_below_deleted = stack.pop()
        if not isinstance(node, dict) or len(parents) > _MAX_DEPTH:
            raise RowError("role_order", where, found="a reply that is no message", expected="messages")
        is_below_deleted = is_below_deleted or _is_deleted(node)
        messages = [*parents, {"role": node.get("role"), "content": node.get("text")}]
        replies = node.get("replies") or []
        if not isinstance(replies, list):
            raise RowError(
                "role_order", where, found="replies that are no list", expected="a list of messages"
            )
        stack += [(reply, messages, is_below_deleted) for reply in reversed(replies)]
        if node.get("role") not in ("prompter", "user", "human"):
            continue
        answers = _ranked(replies, where)
        if is_below_deleted:
            counts["replies_below_deleted"] += len(answers)
            continue
        counts["replies_alone"] += len(replies) == 1
        counts["replies_without_rank"] += len(replies) - len(answers) if len(replies) > 1 else 0
        if len(answers) > 1:
            yield {"prompt": messages, "answers": answers}


def _ranked(replies: list[Any], where: str) -> list[Row]:
    """The replies that have a rank and are not deleted, as {text, rank}."""
    present = [reply for reply in replies if isinstance(reply, dict) and not _is_deleted(reply)]
    ranks = [_rank_of(reply.get("rank"), where) for reply in present]
    return [
        {"text": reply.get("text"), "rank": rank}
        for reply, rank in zip(present, ranks, strict=True)
        if rank is not None
    ]


def _is_deleted(message: Row) -> bool:
    """Whether a message is deleted, or flagged as unwanted: `review_result: false`, `spam: true`."""
    return bool(unwanted_flag(message) or flag_issue({"deleted": message.get("deleted")}, ""))


def _rank_of(value: Any, where: str) -> Any:
    """A rank, which may be the text of a number; None if there is none."""
    if not filled(value) or value != value:
        return None
    return number_in(Cell(value) if isinstance(value, str) else value, "rank", where)
