"""Explains rows of no supported format: unpaired answers, wrappers, lists that are unknown or unrated."""

from collections.abc import Callable, Iterator
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets.columns import PROMPTS
from apo.datasets.fields import is_list_of_texts
from apo.datasets.flags import flags_in, is_grade
from apo.datasets.messages import is_message, unrated_advice
from apo.datasets.paired_columns import VERDICTS

_UNREAD = ("summary", "transcript", "generation", "generated_text", "reply")  # as demonstrations
_ANSWERS = ("completion", "response", "output", "answer", "messages", "conversations", *_UNREAD)
# Of an entry of a list under `answers`.
ANSWER_KEYS = ("answer", "text", "response")
GRADE_KEYS = {"rank": -1.0, "pm_score": 1.0, "overall_score": 1.0, "score": 1.0}  # rank 1 is the best
_INDICES = (
    "chosen_index",
    "chosen_idx",
    "better_index",
    "better_idx",
    "best_index",
    "best_idx",
    "preferred_index",
)
_JUDGEMENTS = ("label", "is_safe", "helpfulness", "score", "scores", "rating", "reward", "summary")


def explain_unsupported(row: Row, where: str, *, is_known: Callable[[Row], bool]) -> UserError | None:
    """The error for a row of no supported format; None if the reason is unknown.

    `is_known` says whether a row has the keys of a supported format.
    """
    return (
        _wrapper(row, where, is_known)
        or _rows_by_id(row, where, is_known)
        or _nested_rows(row, where, is_known)
        or _single_answer(row, where)
        or _unknown_list(row, where)
        or _unrated_answers(row, where)
    )


def explain_columns(row: Row, where: str) -> UserError | None:
    """The error for a whole file as one object with its columns; None for a row.

    pandas writes {column: {"0": value}} by default, and {columns, data} as `split`. Other tools write
    {column: [values]}.
    """
    values, orientation = list(row.values()), ""
    keys = [value.keys() for value in values if isinstance(value, dict)]
    if keys and len(keys) == len(values) and keys[0] and all(key.isdecimal() for key in keys[0]):
        orientation = "each with its values by number" if keys.count(keys[0]) == len(keys) else ""
    elif (
        {"columns", "data"} <= row.keys()
        and isinstance(row["data"], list)
        and is_list_of_texts(row["columns"])
    ):
        orientation = "with all values under 'data'"
    elif all(map(_is_column, values)) and (
        not row.keys().isdisjoint(PROMPTS) or ("chosen" in row and not is_list_of_texts(row["chosen"]))
    ):
        counts = {len(value) for value in values}
        orientation = "each with a list of its values" if len(counts) == 1 and counts != {1} else ""
    if not orientation:
        return None
    return UserError(
        where,
        found=f"one object with the columns of the whole file, {orientation}",
        expected="the rows: a list of objects, or one object a line",
        do="write the file by rows, for instance with pandas: "
        "`frame.to_json(FILE, orient='records', lines=True)`",
    )


def _is_column(values: Any) -> bool:
    """Whether a value is a list of texts or of conversations, which are lists themselves."""
    return is_list_of_texts(values) or (isinstance(values, list) and bool(values) and _is_rows(values[0]))


def _rows_by_id(row: Row, where: str, is_known: Callable[[Row], bool]) -> UserError | None:
    """One object that holds the rows of the whole file under their ids."""
    if (
        not row
        or not all(isinstance(value, dict) for value in row.values())
        or not is_known(row[next(iter(row))])
    ):
        return None
    return UserError(
        where,
        found=f"one object with the rows under their ids ({next(iter(row))[:40]!r}, ...)",
        expected="the rows themselves: a list of objects, or one object a line",
        do="write one row a line, for instance with `jq -c '.[]' FILE > rows.jsonl`",
    )


def _wrapper(row: Row, where: str, is_known: Callable[[Row], bool]) -> UserError | None:
    """One object that holds the rows of the whole file, in one list or in several."""
    keys = [key[:40] for key in row if _is_rows(row[key]) and is_known(row[key][0])]
    prompt = next((key for key in PROMPTS if key in row), "")
    if not keys:
        return None
    if prompt:
        return UserError(
            where,
            found=f"a {prompt} with a list of rows under {keys[0]!r}",
            expected="one row for each comparison, each with its prompt",
            do="write each into a row of its own, for instance with "
            f"`jq -c '{{{prompt}}} + (.[\"{keys[0]}\"][])' FILE > rows.jsonl`",
        )
    others = "" if len(keys) == 1 else " (and each of the others)"
    return UserError(
        where,
        found=f"one object with all rows under {' and '.join(map(repr, keys[:8]))}",
        expected="the rows themselves: a list of objects, or one object a line",
        do=f"write what is under {keys[0]!r}{others} into a file of its own, for instance with "
        f"`jq -c '.[\"{keys[0]}\"][]' FILE > rows.jsonl`",
    )


def _nested_rows(row: Row, where: str, is_known: Callable[[Row], bool]) -> UserError | None:
    """Rows inside other objects, as the server of the hub writes them: `{"rows": [{"row": {...}}]}`."""
    records = list(_records_in(row, []))
    records += [deeper for steps, record in records for deeper in _records_in(record, steps)]
    known = {"chosen", "messages", *PROMPTS}
    inside = [steps for steps, record in records if not known.isdisjoint(record) and is_known(record)]
    if len(inside) != 1 or not known.isdisjoint(row):
        return None
    (steps,) = inside
    jq_filter = " | ".join(map(_jq_step, steps))
    return UserError(
        where,
        found=f"rows inside other objects, at {'.'.join(key for key, _ in steps)[:80]!r}",
        expected="the rows themselves: a list of objects, or one object a line",
        do=f"write them out, for instance with `jq -c '{jq_filter}' FILE > rows.jsonl`",
    )


def _records_in(row: Row, steps: list[tuple[str, bool]]) -> Iterator[tuple[list[tuple[str, bool]], Row]]:
    """The records under the keys of a row, the first of each list of them, with the steps that lead there.

    A step is a key, and whether it leads to a list.
    """
    for key, value in row.items():
        if isinstance(value, dict):
            yield [*steps, (key, False)], value
        elif _is_rows(value):
            yield [*steps, (key, True)], value[0]


def _jq_step(step: tuple[str, bool]) -> str:
    """The step in jq; what is beside a record stays, as a flag of a row."""
    key = f'.["{step[0]}"]'
    return f"{key}[]" if step[1] else f"del({key}) + {key}"


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value[:3])


def _single_answer(row: Row, where: str) -> UserError | None:
    """An unpaired preference."""
    answers = [key for key in _ANSWERS if key in row]
    flags = flags_in(row)
    grades = [
        key for key in row if (key in _JUDGEMENTS or is_grade(key)) and key not in [*answers[:1], *flags]
    ]
    if len(answers) != 1 or not flags + grades:
        return None
    names = ", ".join(key[:40] for key in [*flags, *grades][:8])
    prompt = next((key for key in PROMPTS if key in row), "PROMPT")
    columns = f"`{{prompt: {prompt}, completion: {answers[0]}}}` under data.files.columns.demonstrations"
    mapped = f" with {columns}" if answers[0] in _UNREAD else ""
    advice = (
        "rows flagged as unwanted are left out with data.on_issue.unwanted_answer: drop"
        if flags
        else f"every row is taken, whatever its {grades[0][:40]}: leave out those that nobody wants"
    )
    return UserError(
        where,
        found=f"one answer ({answers[0]}) and what is said about it alone ({names})",
        expected="two or more answers to a prompt and which is better: rows that stand alone are no "
        "comparisons (unpaired preferences, as KTO takes them)",
        do="bring a set of comparisons; rows with a prompt and a wanted answer can be named under "
        f"data.files.demonstrations{mapped}, where {advice}",
    )


def _unknown_list(row: Row, where: str) -> UserError | None:
    """A list of records under a key that no format has."""
    key = next((key for key in row if _is_rows(row[key]) and not is_message(row[key][0])), None)
    if key is None:
        return None
    fields = ", ".join(sorted(str(name)[:40] for name in row[key][0])[:8])
    do = (
        "write the rows in that form; of two answers, map paths such as "
        f"`response_0: {key[:40]}.0.FIELD` under data.files.columns.comparisons (data.hub.columns)"
    )
    if _is_graded(row[key][0]):
        do = (
            f"name the list under data.files.columns.comparisons (data.hub.columns): `answers: {key[:40]}`, "
            "and `prompt: ...`"
        )
    return UserError(
        where,
        found=f"a row with a list of objects ({fields}) under {key[:40]!r}",
        expected="a prompt, and under `answers` a list with a text (answer, text or response) and a grade "
        "(rank, score, pm_score or overall_score) for each",
        do=do,
    )


def _is_graded(entry: Row) -> bool:
    """Whether an entry of a list has one text and one grade, as those under `answers`."""
    return all(sum(name in entry for name in names) == 1 for names in (ANSWER_KEYS, GRADE_KEYS))


def _unrated_answers(row: Row, where: str) -> UserError | None:
    """A list of answers without scores."""
    keys = (*_ANSWERS, "responses", "answers", "outputs", "completions", "candidates", "generations")
    key = next((key for key in keys if is_list_of_texts(row.get(key)) and len(row[key]) > 1), None)
    if key is None or "score" in row or "scores" in row:
        return None
    return UserError(
        where,
        found=f"a list of {len(row[key])} texts under {key!r}, and no `scores` or `ranks` beside it",
        expected="answers to a prompt and which is better, such as `responses` with `scores`",
        do=list_advice(row, key),
    )


def list_advice(row: Row, key: str) -> str:
    """How to read a list of texts as the answers to a prompt, with what rates them, or as samples."""
    prompt, column = next((name for name in PROMPTS if name in row), "PROMPT"), _rating(row, key)
    rated = _verdict_advice(row, key) or _rating_advice(key, column) or unrated_advice(key)
    rewards = f", `{'ranks' if 'rank' in column.lower() else 'scores'}: {column}`" if column else ""
    samples = f"`query: {prompt}`, `samples: {key}`{rewards}"
    return f"{rated}; as samples, map {samples} under data.files.columns.samples"


def _rating(row: Row, key: str) -> str:
    """A column with a list of a number for each answer; "" if there is none."""
    lists = {name: value for name, value in row.items() if isinstance(value, list) and name != key}
    return next((name for name, value in lists.items() if _rates(value, len(row[key]))), "")


def _rating_advice(key: str, column: str) -> str:
    if not column:
        return ""
    forms = [f"`ranks: {column}` where the lowest is the best"]
    forms += [] if "rank" in column.lower() else [f"`scores: {column}` where the highest is"]
    return (
        f"if each number in {column!r} rates the answer at its place, map `responses: {key}` with "
        f"{' or '.join(forms)}, under data.files.columns.comparisons (data.hub.columns)"
    )


def _rates(values: list[Any], count: int) -> bool:
    return len(values) == count and all(isinstance(value, int | float) for value in values)


def _verdict_advice(row: Row, key: str) -> str:
    """How to read two answers in a list and a column that says which is better; "" if there is none."""
    verdict = next((name for name in (*VERDICTS, *_INDICES) if name in row), "")
    if not verdict or len(row[key]) != 2 or isinstance(row[verdict], list | dict):
        return ""
    names = (
        ("response_0", "response_1", "better")
        if verdict in _INDICES
        else ("response_a", "response_b", "winner")
    )
    columns = zip(names, (f"{key}.0", f"{key}.1", verdict), strict=True)
    mapped = ", ".join(f"`{name}: {column}`" for name, column in columns)
    where = "data.files.columns.comparisons (data.hub.columns)"
    return f"map both and what says which is better, {mapped}, under {where}"
