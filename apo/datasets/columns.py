"""Renames columns: those that the user maps, and common names in other languages."""

from collections.abc import Iterator, Mapping
from typing import Any

from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.context import HISTORY, MEDIA, SYSTEM, filled
from apo.datasets.fields import bad_value

# Keys under which public data sets have the prompt.
PROMPTS = ("prompt", "question", "instruction", "input", "context", "query", "conversations")
# Common names in other languages, as ours.
_TRANSLATED = {
    **dict.fromkeys(("指令", "指示", "instrucción", "инструкция"), "instruction"),
    **dict.fromkeys(
        ("问题", "問題", "質問", "提示", "질문", "вопрос", "frage", "pregunta", "pergunta"), "question"
    ),
    **dict.fromkeys(("输入", "輸入", "入力", "입력", "eingabe", "entrada", "entrée"), "input"),
    "上下文": "context",
    **dict.fromkeys(("历史", "歷史", "対話履歴", "история", "verlauf", "historial", "historique"), "history"),
    **dict.fromkeys(("系统", "系統", "система"), "system"),
    **dict.fromkeys(
        ("回答", "答案", "답변", "ответ", "antwort", "respuesta", "resposta", "réponse"), "answer"
    ),
    **dict.fromkeys(
        ("选择", "选中", "偏好", "好的回答", "更好的回答", "選択", "선택", "выбранный"), "chosen"
    ),
    **dict.fromkeys(("gewählt", "bevorzugt", "elegida", "elegido", "escolhida", "escolhido"), "chosen"),
    **dict.fromkeys(("choisi", "choisie", "préférée"), "chosen"),
    **dict.fromkeys(("拒绝", "坏的回答", "差的回答", "却下", "거절", "거부", "отклонённый"), "rejected"),
    **dict.fromkeys(("abgelehnt", "rechazada", "rechazado", "rejeitada", "rejeitado"), "rejected"),
    **dict.fromkeys(("rejeté", "rejetée"), "rejected"),
}


def translate_columns(row: Row) -> Row:
    """The row, with common names of columns in other languages replaced by the English ones."""
    if row.keys().isdisjoint(_TRANSLATED):
        return row
    return {canonical_name(key, row): value for key, value in row.items()}


def canonical_name(key: str, row: Row) -> str:
    """The English name of a column, unless the row has a column of that name."""
    name = _TRANSLATED.get(key, key)
    return key if name in row else name


def map_columns(row: Row, columns: Mapping[str, str], where: str, *, keep_unmapped: bool = False) -> Row:
    """A row under the names of the format.

    Columns with context stay: earlier turns, a system text, other media, and the prompt if none is mapped.
    The input of an instruction is appended to it.

    Args:
        columns: By name in the format: a key, or a path such as `info.post` and `answers.0.text`.
        keep_unmapped: Whether all other columns stay too.

    Raises:
        RowError: The row lacks a mapped column.
    """
    mapped = {name: _value_at(row, path, where) for name, path in columns.items()}
    unmapped = set(unmapped_columns(row, columns, keep_unmapped=keep_unmapped))
    if "input" in unmapped and "prompt" in mapped:
        unmapped.remove("input")
        mapped["input"] = row["input"]
    if "prompt" in mapped and "input" in mapped:
        mapped["prompt"] = _append_input(mapped["prompt"], mapped.pop("input"), where)
    return mapped | {key: row[key] for key in row if key in unmapped}


def unmapped_columns(row: Row, columns: Mapping[str, str], *, keep_unmapped: bool = False) -> Iterator[str]:
    """The columns that may be read although they are not mapped."""
    mapped = {column_of(row, path) for path in columns.values()}
    prompts = () if {"prompt", *PROMPTS} & columns.keys() else PROMPTS
    inputs = ("input",) if columns.get("prompt", "").rpartition(".")[2] == "instruction" else ()
    context = (*SYSTEM, *HISTORY, *MEDIA, *prompts, *inputs)
    remaining = [key for key in row if key not in (*context, *PROMPTS)] if keep_unmapped else []
    for key in (*context, *remaining):
        if key in row and key not in mapped and key not in columns:
            yield key


def _append_input(prompt: Any, input_text: Any, where: str) -> Any:
    if not filled(input_text) or not isinstance(prompt, str):
        return prompt
    if not isinstance(input_text, str):
        raise bad_value("not_text", where, "input", type(input_text).__name__, "a text")
    return f"{prompt}\n\n{input_text}"


def column_of(row: Row, path: str) -> str:
    """The column that a path begins with."""
    return path if path in row else path.partition(".")[0]


def _value_at(row: Row, path: str, where: str) -> Any:
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
