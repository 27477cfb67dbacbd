"""Columns of a file under our names: those that the user maps, and what belongs to them."""

from collections.abc import Iterator, Mapping
from typing import Any

from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.context import HISTORY, MEDIA, SYSTEM, filled
from apo.datasets.fields import refuse

# Keys under which public sets have what is asked, and what else belongs to it.
PROMPTS = ("prompt", "question", "instruction", "input", "context", "query", "conversations")
# Common names in other languages, as ours.
_TRANSLATED = {
    **dict.fromkeys(("指令", "指示"), "instruction"),
    **dict.fromkeys(
        ("问题", "問題", "質問", "提示", "질문", "вопрос", "frage", "pregunta", "pergunta"), "question"
    ),
    **dict.fromkeys(("输入", "輸入", "入力", "입력", "eingabe", "entrada", "entrée"), "input"),
    **dict.fromkeys(("历史", "歷史", "対話履歴", "история", "verlauf", "historial", "historique"), "history"),
    **dict.fromkeys(("系统", "系統", "система"), "system"),
    **dict.fromkeys(
        ("回答", "答案", "답변", "ответ", "antwort", "respuesta", "resposta", "réponse"), "answer"
    ),
    **dict.fromkeys(("选择", "选中", "偏好", "gewählt", "elegida", "choisi"), "chosen"),
    **dict.fromkeys(("拒绝", "abgelehnt", "rechazada", "rejeté"), "rejected"),
}


def translated(row: Row) -> Row:
    """A row whose columns have our names where their names are common ones of other languages."""
    if row.keys().isdisjoint(_TRANSLATED):
        return row
    return {our_name(key, row): value for key, value in row.items()}


def our_name(key: str, row: Row) -> str:
    ours = _TRANSLATED.get(key, key)
    return key if ours in row else ours


def with_columns(row: Row, columns: Mapping[str, str], where: str) -> Row:
    """A row under our keys: {ours: theirs}, theirs a key or a path such as `info.post` and `answers.0.text`.

    What belongs to a column stays beside it: earlier turns, a system text, other media; the prompt where none
    is mapped; and the input of an instruction, behind it.

    Raises:
        RowError: A row has no such column.
    """
    mapped = {ours: _at(row, theirs, where) for ours, theirs in columns.items()}
    beside = set(partners(row, columns))
    if "input" in beside and "prompt" in mapped:
        beside.remove("input")
        mapped["input"] = row["input"]
    if "prompt" in mapped and "input" in mapped:
        mapped["prompt"] = _joined(mapped["prompt"], mapped.pop("input"), where)
    return mapped | {key: row[key] for key in row if key in beside}


def partners(row: Row, columns: Mapping[str, str]) -> Iterator[str]:
    """The columns that are read beside those that are mapped."""
    taken = {column_of(row, path) for path in columns.values()}
    prompts = () if {"prompt", *PROMPTS} & columns.keys() else PROMPTS
    inputs = ("input",) if columns.get("prompt", "").rpartition(".")[2] == "instruction" else ()
    for key in (*SYSTEM, *HISTORY, *MEDIA, *prompts, *inputs):
        if key in row and key not in taken and key not in columns:
            yield key


def _joined(prompt: Any, about: Any, where: str) -> Any:
    if not filled(about) or not isinstance(prompt, str):
        return prompt
    if not isinstance(about, str):
        refuse("not_text", where, "input", type(about).__name__, "a text")
    return f"{prompt}\n\n{about}"


def column_of(row: Row, path: str) -> str:
    """The column that a path begins with."""
    return path if path in row else path.partition(".")[0]


def _at(row: Row, path: str, where: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for step in path.split("."):
        if isinstance(value, list) and step.isdecimal() and len(step) < 6 and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            raise RowError(
                "other_keys",
                where,
                found=f"keys {key_list(row)}",
                expected=f"a column {path!r}",
                do="correct the `columns` in params.yaml, or fix the row",
            )
    return value


def key_list(row: Row) -> list[str]:
    """The keys of a row for a message."""
    keys = sorted(key[:40] for key in row)
    return keys if len(keys) <= 30 else [*keys[:30], "..."]
