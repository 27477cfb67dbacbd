"""Renames columns: those that the user maps, and common names in other languages."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.context import HISTORY, SYSTEM, UNREAD_CONTEXT, UNREAD_PARTS
from apo.datasets.fields import bad_value, filled
from apo.datasets.paired_columns import PAIRED_NAMES, STATUSES, TIE_MARKS, VERDICTS, answers_in

# Keys under which public data sets have the prompt.
PROMPTS = ("prompt", "question", "instruction", "input", "context", "query", "conversations")
# Common names in other languages and other words, as ours.
_TRANSLATED = {
    **dict.fromkeys(("指令", "指示", "指示文", "지시", "지시문", "명령", "инструкция"), "instruction"),
    **dict.fromkeys(("anweisung", "instrucción", "instrução", "istruzione", "consigne"), "instruction"),
    **dict.fromkeys(("问题", "問題", "質問", "提示", "질문", "вопрос"), "question"),
    **dict.fromkeys(("frage", "pregunta", "pergunta", "domanda"), "question"),
    **dict.fromkeys(("输入", "輸入", "入力", "입력", "ввод", "eingabe", "entrada", "entrée"), "input"),
    "上下文": "context",
    **dict.fromkeys(("历史", "歷史", "対話履歴", "会話履歴", "대화_기록", "대화기록"), "history"),
    **dict.fromkeys(("история", "verlauf", "historial", "historique", "histórico"), "history"),
    **dict.fromkeys(("系统", "系統", "система", "sys_prompt", "system_instruction", "system_text"), "system"),
    **dict.fromkeys(("回答", "答案", "답변", "ответ", "antwort"), "answer"),
    **dict.fromkeys(("respuesta", "resposta", "réponse", "risposta"), "answer"),
    **dict.fromkeys(
        ("选择", "选中", "偏好", "好的回答", "更好的回答", "選択", "선택", "выбранный"), "chosen"
    ),
    **dict.fromkeys(("gewählt", "bevorzugt", "elegida", "elegido", "escolhida", "escolhido"), "chosen"),
    **dict.fromkeys(("choisi", "choisie", "préférée"), "chosen"),
    **dict.fromkeys(("拒绝", "坏的回答", "差的回答", "却下", "거절", "거부", "отклонённый"), "rejected"),
    **dict.fromkeys(("abgelehnt", "rechazada", "rechazado", "rejeitada", "rejeitado"), "rejected"),
    **dict.fromkeys(("rejeté", "rejetée"), "rejected"),
    **dict.fromkeys(("胜者", "获胜者", "更好", "勝者", "승자", "победитель"), "winner"),
    **dict.fromkeys(("gewinner", "ganador", "vencedor", "gagnant", "vincitore"), "winner"),
}
_CONTEXT = (*SYSTEM, *HISTORY, *UNREAD_CONTEXT, *UNREAD_PARTS)
_GROUPS = (SYSTEM, HISTORY, UNREAD_PARTS, (*UNREAD_CONTEXT, "context"))  # of the same meaning
# Names of ours that are known in any spelling.
_SPELLED = frozenset(
    [
        *(*PROMPTS, *_CONTEXT, *PAIRED_NAMES, *VERDICTS, *TIE_MARKS),
        *("completion", "response", "output", "answer", "responses", "completions", "answers", "golden"),
        *("samples", "score", "scores", "rewards", "ratings", "ranks", "messages", "chosen", "rejected"),
    ]
)

# Pairs of names for a chosen and a rejected answer, where both are there and hold answers.
_PAIRED = {
    "win": "lose",
    "winner_response": "loser_response",
    "preferred": "dispreferred",
    "preferred_output": "non_preferred_output",
    "chosen_messages": "rejected_messages",
    "positive": "negative",
    "good": "bad",
    "pos_resp": "neg_resp",
    "chosen_text": "rejected_text",
    "good_response": "bad_response",
    "y_w": "y_l",
}
_REJECTED = {bad: good for good, bad in _PAIRED.items()}

# Columns with a list of a number for each sample.
REWARDS = (
    *("source_rewards", "rewards", "scores", "ratings"),
    *("sample_scores", "sample_rewards", "sample_ratings", "ranks", "sample_ranks"),
)
_RANK = re.compile(r"(^|[_.])rank(s|ing|ings)?([_.\d]|$)", re.IGNORECASE)


@lru_cache(1000)
def known_name(key: str) -> str:
    """The name of ours that a column stands for, by itself; the key if there is none.

    >>> known_name("systemPrompt"), known_name("System Prompt"), known_name("Frage"), known_name("source")
    ('system_prompt', 'system_prompt', 'question', 'source')
    """
    if key in _SPELLED:
        return key
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower())
    name = "_".join(words)
    return _TRANSLATED.get(name, name if name in _SPELLED else key)


def translate_columns(row: Row) -> Row:
    """The row under our names of columns, where it has them in another language or spelling."""
    if all(known_name(key) == key for key in row):
        return row
    return {_in_english(key, row): value for key, value in row.items()}


def name_sides(row: Row) -> Row:
    """The row with `chosen` and `rejected` in place of another pair of names; for rows of no known format."""
    return {_side_of_pair(key, row): value for key, value in row.items()}


def canonical_name(key: str, row: Row) -> str:
    """The English name of a column, unless the row has a column of that name."""
    name = _in_english(key, row)
    return name if name != key else _side_of_pair(key, row)


def _in_english(key: str, row: Row) -> str:
    """Our name of a column; the first of two columns has it, unless the row has a column of that name."""
    name = known_name(key)
    is_first = next((other for other in row if known_name(other) == name), key) == key
    return name if is_first and name not in row else key


def _side_of_pair(key: str, row: Row) -> str:
    """chosen or rejected for the two names of a pair, if the row has neither column; else the key."""
    if key not in _PAIRED and key not in _REJECTED:
        return key
    pair = (key, _PAIRED[key]) if key in _PAIRED else (_REJECTED[key], key)
    if not row.keys() >= {*pair} or not row.keys().isdisjoint(("chosen", "rejected")):
        return key
    if not all(isinstance(row[name], str | list | dict | None) for name in pair):
        return key  # marks or counts
    first = next(name for name in _PAIRED if name in row and _PAIRED[name] in row)
    return key if first != pair[0] else "chosen" if key == first else "rejected"


def map_columns(row: Row, columns: Mapping[str, str], where: str, *, keep_unmapped: bool = False) -> Row:
    """A row under the names of the format, and known names of other languages in ours.

    Columns with context stay: earlier turns, a system text, other media, and the prompt if none is mapped.
    The input of an instruction is appended to it.

    Args:
        row: The row as it is in the file.
        columns: By name in the format: a key, or a path such as `info.post` and `answers.0.text`.
        keep_unmapped: Whether all other columns stay too.

    Raises:
        RowError: The row lacks a mapped column.
    """
    paths = {**columns, **input_of_instruction(row, columns)}
    mapped = {name: _value_at(row, path, where) for name, path in paths.items()}
    unmapped = unmapped_columns(row, columns, keep_unmapped=keep_unmapped)
    named = mapped | {canonical_name(key, row): row[key] for key in unmapped}
    prompt = next((name for name in ("prompt", *PROMPTS) if name in named and name != "input"), "")
    if prompt and "input" in mapped:
        named[prompt] = _append_input(named[prompt], named.pop("input"), where)
    return named


def with_context_beside(row: Row, columns: Mapping[str, str]) -> Row:
    """A row with the context beside a prompt that is mapped from a record, as columns of their own.

    >>> with_context_beside({"task": {"text": "Why?", "system": "Be brief."}}, {"prompt": "task.text"})
    {'task': {'text': 'Why?', 'system': 'Be brief.'}, 'system': 'Be brief.'}
    """
    for name in ("prompt", *PROMPTS):
        parent = columns.get(name, "").rpartition(".")[0]
        beside = _value_at(row, parent, "") if parent and columns[name] not in row else None
        if isinstance(beside, dict):
            mapped = {path.removeprefix(f"{parent}.") for path in columns.values()}
            others = {key: value for key, value in beside.items() if key not in mapped}
            row = row | _context_in(others, {*row, *columns})
    return row


def context_in_prompts(row: Row) -> Row:
    """The context in a prompt that is a record, as columns that the row does not have.

    >>> context_in_prompts({"input": {"messages": [], "system": "Be brief."}, "system": "Be kind."})
    {'system_prompt': 'Be brief.'}
    """
    records = [value for key, value in row.items() if key in PROMPTS and isinstance(value, dict)]
    found: Row = {}
    for record in records:
        if "messages" in record or "full_text" in record:
            found |= _context_in(record, {*row, *found})
    return found


def _context_in(record: Row, taken: Collection[str]) -> Row:
    """What a record has as context, under a name of the same meaning that is not taken."""
    found: Row = {}
    for key, value in record.items():
        name = known_name(key)
        group = next((names for names in _GROUPS if name in names), ())
        free = next((alias for alias in (name, *group) if alias not in {*taken, *found, "context"}), "")
        if group and free and filled(value):
            found[free] = value
    return found


def unmapped_columns(row: Row, columns: Mapping[str, str], *, keep_unmapped: bool = False) -> Iterator[str]:
    """The columns that may be read although they are not mapped."""
    paths = (*columns.values(), *input_of_instruction(row, columns).values())
    mapped = {column_of(row, path) for path in paths}
    prompts = () if {"prompt", *PROMPTS} & (columns.keys() - {"input"}) else PROMPTS
    context = (*_CONTEXT, *prompts)
    keys = {canonical_name(key, row): key for key in row}
    remaining = [name for name in keys if name not in (*context, *PROMPTS)] if keep_unmapped else []
    rewards = REWARDS if "samples" in columns and not {*REWARDS} & columns.keys() else ()
    models = [] if keep_unmapped else [key for key in keys if "model" in key.lower()]  # labels may name them
    named = answers_in(keys.keys()) if "chosen" in columns else []  # chosen may name one of them
    answers = [answer for first, second, _ in named for answer in (first, second)]
    ties = (*TIE_MARKS, *STATUSES) if "chosen" in columns else ()
    for name in (*context, *rewards, *remaining, *models, *answers, *ties):
        if name in keys and keys[name] not in mapped and name not in columns:
            yield keys[name]


def input_of_instruction(row: Row, columns: Mapping[str, str]) -> dict[str, str]:
    """The path of the input beside a mapped instruction, as {"input": path}; {} if there is none."""
    name = next((name for name in ("prompt", *PROMPTS) if name in columns), "input")
    parent, _, last = columns.get(name, "").rpartition(".")
    if "input" in columns or known_name(last) != "instruction":
        return {}
    beside = _value_at(row, parent, "") if parent else row
    keys = [f"{parent}.{key}" for key in _inputs_in(beside)] if parent else []
    keys = keys or _inputs_in(row)
    return {"input": keys[0]} if keys else {}


def _inputs_in(value: Any) -> list[str]:
    return [key for key in value if known_name(key) == "input"] if isinstance(value, dict) else []


def check_no_rank_is_a_score(columns: Mapping[str, str]) -> None:
    """Raises UserError if the user maps a rank, which is lower for the better answer, as a score."""
    for name, path in columns.items():
        if re.match(r"(score|rating|reward)s?(_|$)", name) and _RANK.search(path) and "score" not in path:
            raise UserError(
                "params.yaml: data.files.columns (data.hub.columns)",
                found=f"`{name}: {path[:60]}`, by its name a rank",
                expected="a score, which is higher for the better answer",
                do="map a list of ranks beside `responses` as `ranks`, a list of objects with a text and a "
                "rank each as `answers`, or write scores into the file",
            )


def _append_input(prompt: Any, input_text: Any, where: str) -> Any:
    if not filled(input_text) or prompt is None:
        return prompt
    if not isinstance(prompt, str):
        found = f"an input beside a prompt that is a {type(prompt).__name__}"
        raise bad_value("not_text", where, "input", found, "a prompt that is a text, or no input")
    if not isinstance(input_text, str):
        raise bad_value("not_text", where, "input", type(input_text).__name__, "a text")
    return f"{prompt}\n\n{input_text}"


def column_of(row: Row, path: str) -> str:
    """The column that a path begins with; its name may be ours for one in another language."""
    name = path if path in row else path.partition(".")[0]
    if name in row:
        return name
    return next((key for key in row if canonical_name(key, row) == name), name)


def _value_at(row: Row, path: str, where: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for step in (column_of(row, path), *path.split(".")[1:]):
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
                do="correct the `columns` in params.yaml ({FILE: {...}} if files differ), or fix the row",
            )
    return value


def key_list(row: Row) -> list[str]:
    """The keys of a row for a message."""
    keys = sorted(key[:40] for key in row)
    return keys if len(keys) <= 30 else [*keys[:30], "..."]
