"""Flags that mark an answer as wanted or unwanted, as in unpaired preferences (KTO)."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple
from unicodedata import normalize

from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.csv_rows import Cell
from apo.datasets.fields import filled, number_of_cell, shortened


def _meanings(yes: str, no: str) -> dict[str, bool]:
    return dict.fromkeys(yes.split(), True) | dict.fromkeys(no.split(), False)


_YES_NO = _meanings(
    "true yes y t ✅ ✔ ✓ ja wahr oui vrai sí si sim sì verdadero verdadeiro vero да истина правда tak "
    "是 真 はい 예 네 참",
    "false no n f ❌ ✗ ✘ ✖ nein nee non faux falso não nao нет ложь nie "
    "否 不 假 いいえ 偽 아니요 아니오 거짓",
)
# Words for an answer that name no flag: a column `best` is an answer.
_RATINGS = _meanings(
    "positive pos right up high best better great excellent winner won + 👍 :+1:",
    "negative neg down low worst worse poor loss lost loser - 👎 :-1:",
)
# Words that name flags too: `is_good`, `toxic`.
_ADJECTIVES = _meanings(
    "ok okay good safe desirable desired preferred chosen accept accepted acceptable approve approved "
    "correct like liked thumbsup upvote upvoted helpful useful wanted valid pass passed win appropriate "
    "accurate harmless gut richtig korrekt erwünscht angenommen gültig bon bonne correcte valide "
    "accepté acceptée bueno buena bien correcto correcta aceptado aceptada bom boa correto correta "
    "aceito buono corretto хорошо хороший хорошая верно правильно принято "
    "好 优 对 對 正确 正確 赞 讚 合格 安全 接受 良い 正解 承認 좋음 맞음 승인",
    "bad nok wrong reject rejected fail failed lose spam toxic harmful thumbsdown downvote downvoted flagged "
    "declined discarded deleted blocked offensive hateful abusive useless "
    "schlecht falsch abgelehnt schädlich mauvais mauvaise rejeté rejetée malo mala mal rechazado rechazada "
    "ruim mau rejeitado rejeitada cattivo sbagliato плохо плохой плохая отклонено "
    "差 坏 壞 错 錯 错误 錯誤 拒绝 拒絕 踩 有害 悪い 却下 나쁨 틀림 거절",
)
_QUALITIES = _ADJECTIVES | _RATINGS
_NEGATIONS = ("not", "non", "no", "nicht", "un", "in", "dis", "不", "не", "não", "nao")
_DECORATION = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff]")  # of emojis: their style, a colour of skin


class _Flag(NamedTuple):
    """What a yes under a column says about an answer, and what else the column may hold.

    Attributes:
        wanted: Whether a yes marks the answer as wanted.
        numbers: Whether 1, 0 and -1 are yes and no.
        others: Whether a value that is neither yes nor no may be something else than a flag.
    """

    wanted: bool = True
    numbers: bool = True
    others: bool = False


_NOUNS = (
    *("label", "labels", "kto_tag", "kto_label", "preference", "thumbs", "feedback", "verdict", "positive"),
    *("review_result", "vote", "thumb", "pref", "binary_label", "reward_label"),
    *("标签", "標籤", "标注", "ラベル", "라벨", "метка", "etikett", "etiqueta", "étiquette"),
)
_GRADES = (
    *("rating", "score", "quality", "safety", "correctness", "grade"),
    *(
        "bewertung",
        "qualität",
        "оценка",
        "качество",
        "评价",
        "評價",
        "評価",
        "평가",
        "质量",
        "calidad",
        "valoración",
    ),
    *("qualidade", "avaliação", "qualité", "évaluation"),
)
# Of which only a plain yes or no counts.
_WANTED = ("reaction", "outcome", "judgement", "judgment", "acceptance", "acceptability", "selected")
_UNWANTED = ("nsfw", "jailbroken", "hallucination", "hallucinated", "reported")
_WEIGHT = _Flag(numbers=False)  # 0 says no, as in the messages of OpenAI; another number says nothing
_FLAGS = {
    "weight": _WEIGHT,
    **{name.replace("_", ""): _Flag() for name in _NOUNS},
    **{name.replace("_", ""): _Flag(numbers=False) for name in _GRADES},
    **dict.fromkeys(_WANTED, _Flag(others=True)),
    **dict.fromkeys(_UNWANTED, _Flag(wanted=False, others=True)),
    **{name: _Flag(numbers=False, others=True) for name in ("chosen", "status")},
    **{name: _Flag(wanted=False, numbers=False, others=True) for name in ("rejected", "negative")},
}
_VERBS, _PEOPLE = {"is", "was", "ist", "est", "es"}, {"human", "user", "annotator", "rater"}
_ANSWERS = {"response", "answer", "completion", "output", "reply"}
_RECORDS = ("metadata", "meta", "info", "annotation", "annotations")  # in which a flag may be
_MAX_ENTRIES = 20  # of a list of such records that are looked at
_LISTS = ("messages", "conversations", "completion", "response", "output", "answer")


@lru_cache(1000)
def _flag_of(key: str) -> _Flag | None:
    """What a column says about an answer, by its name; None if it is no flag.

    `is_good`, `isGood`, `Is good?` and `is_response_good` are the same.
    """
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower())
    if _VERBS.isdisjoint(words):
        name = "".join(word for word in words if word not in _PEOPLE)
    else:
        name = "".join(word for word in words if word not in _VERBS | _PEOPLE | _ANSWERS)
        if name in ("chosen", "rejected"):
            return _Flag(wanted=name == "chosen")
    name = name.removeprefix("是否")
    if name in _FLAGS:
        return _FLAGS[name]
    wanted = _in_words(name, _ADJECTIVES if _VERBS.isdisjoint(words) else _QUALITIES)
    return None if wanted is None else _Flag(wanted)


def is_flag(key: str) -> bool:
    """Whether a column, by its name, holds a flag of an answer, and no grade."""
    flag = _flag_of(key)
    return flag is not None and (flag.numbers or key == "chosen")


def is_grade(key: str) -> bool:
    """Whether a column, by its name, holds a grade of an answer, which may be yes or no."""
    flag = _flag_of(key)
    return flag is not None and not flag.numbers and not flag.others


def _in_words(word: str, meanings: dict[str, bool]) -> bool | None:
    """The meaning of a word or of its negation, such as `unsafe`; None if it is unknown."""
    if word in meanings:
        return meanings[word]
    for negation in _NEGATIONS:
        rest = word.removeprefix(negation)
        if rest != word and rest in meanings and (len(rest) > 1 or not rest.isascii()):
            return not meanings[rest]
    return None


def _number(value: Any) -> float | None:
    """The number of a value that is one, or a text of one."""
    number = number_of_cell(Cell(value)) if isinstance(value, str) else value
    is_number = isinstance(number, float | int) and not isinstance(number, bool) and abs(number) < 1e15
    return float(number) if is_number else None


def _says(value: Any, wanted: bool) -> bool | None:
    """Whether a value calls an answer wanted in a column where a yes means `wanted`; None if unknown."""
    if isinstance(value, bool):
        return value == wanted
    text = _DECORATION.sub("", normalize("NFKC", str(value)[:41])).strip().lower().replace("\u2212", "-")
    number = _number(text)
    if number is not None:
        return {1.0: wanted, 0.0: not wanted, -1.0: not wanted}.get(number)
    for word in (text, "".join(re.findall(r"[^\W_]+", text))):
        answer = _in_words(word, _YES_NO)
        quality = _in_words(word, _QUALITIES if wanted else _ADJECTIVES)
        if answer is not None:
            return answer == wanted
        if quality is not None:
            return quality
    return None


def _meaning_of(flag: _Flag, value: Any) -> list[bool | None]:
    """Whether a value marks its answer as wanted, None if that is unknown; [] if it is no flag.

    Numbers, lists and records in a column of grades are no flags.
    """
    while (isinstance(value, list) and len(value) == 1) or (
        isinstance(value, dict) and [*value] == ["value"]
    ):
        value = value[0] if isinstance(value, list) else value["value"]
    if not filled(value) or value != value:
        return []
    number = _number(value)
    if not flag.numbers and (number is not None or isinstance(value, list | dict)):
        return [False] if flag is _WEIGHT and number == 0 else []
    is_known_type = isinstance(value, bool | int | float | str)
    meaning = _says(value, flag.wanted) if is_known_type else None
    return [] if meaning is None and flag.others else [meaning]


def _flags(record: Row, prefix: str = "") -> Iterator[tuple[str, bool | None, Any]]:
    """Every flag in a row, in records about it and in the last message: its path, its meaning, its value."""
    for key, value in record.items():
        flag = _flag_of(key)
        is_record = key.strip().lower() in _RECORDS and prefix.count(".") < 3
        if flag:
            for meaning in _meaning_of(flag, value):
                yield prefix + key, meaning, value
        elif is_record and isinstance(value, dict):
            yield from _flags(value, f"{prefix}{key}.")
        elif is_record and isinstance(value, list):
            entries = ((n, entry) for n, entry in enumerate(value[:_MAX_ENTRIES]) if isinstance(entry, dict))
            flags = (flag for n, entry in entries for flag in _flags(entry, f"{prefix}{key}.{n}."))
            yield from (flag for flag in flags if flag[1] is not None)  # others may be of a part of a text
        elif (
            key in _LISTS and not prefix and isinstance(value, list) and value and isinstance(value[-1], dict)
        ):
            yield from _flags(value[-1], f"{key}.{len(value) - 1}.")


def flags_in(row: Row) -> list[str]:
    """The paths of the flags in a row, such as `metadata.label`."""
    return [*dict.fromkeys([*filter(is_flag, row), *(path for path, _, _ in _flags(row))])]


def unwanted_flag(record: Row) -> str:
    """The flag that marks an answer as unwanted, with its value; "" if there is none."""
    return next((_shown(path, value) for path, wanted, value in _flags(record) if wanted is False), "")


def flag_issue(row: Row, where: str) -> RowError | None:
    """The issue of a row with one answer: its flag says that nobody wants it, or is not understood."""
    unwanted = unwanted_flag(row)
    if unwanted:
        found, expected = f"{unwanted}, for an answer that nobody wants", "wanted answers"
        return RowError("unwanted_answer", where, found=found, expected=expected)
    unknown = next((_shown(path, value) for path, wanted, value in _flags(row) if wanted is None), "")
    if not unknown:
        return None
    return RowError(
        "unknown_flag",
        where,
        found=f"{unknown}, neither a known yes nor a known no; it is not known whether it is a flag",
        expected="true or false in a column that marks answers as wanted or unwanted",
        do="write true or false there, or rename the column if it is something else",
    )


def _shown(path: str, value: Any) -> str:
    return f"{path[:80]}: {shortened(value)}"
