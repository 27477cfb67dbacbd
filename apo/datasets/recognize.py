"""The formats that rows of other people's files have, recognized by their keys."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets import formats as parsers
from apo.datasets import public_formats as public
from apo.datasets.formats import SEPARATOR as SEPARATOR
from apo.datasets.formats import Bind
from apo.datasets.paired_columns import paired_columns_in
from apo.datasets.unsupported_rows import explain_unsupported

# Keys under which public sets have what is asked, and what else belongs to it.
PROMPTS = ("prompt", "question", "instruction", "input", "context", "query", "conversations")
_ANY = re.compile(r".*", re.DOTALL)


@dataclass(frozen=True)
class Format:
    """One way to write a row.

    Args:
        kind: comparison, golden, samples or demonstration.
        name: What `data.format` calls it.
        keys: Keys that must be there.
        bind: From the first row of a file, whose values tell texts from lists, and the keys that stand for
            the parts of a row, to the function that reads all its rows.
        one_of: Parts of a row with the keys that may stand for each.
        without: Keys that make it another format.
        some_key: What at least one key looks like.
        also: What the keys mean, for messages.
    """

    kind: str
    name: str
    keys: frozenset[str]
    bind: parsers.Bind
    one_of: Mapping[str, tuple[str, ...]]
    without: frozenset[str] = frozenset()
    some_key: re.Pattern[str] = _ANY
    also: str = ""

    def has_keys_of(self, row: Row, *, is_named: bool = False) -> bool:
        """Whether the row's keys are those of this format; other keys beside them are not read.

        Args:
            row: The row.
            is_named: The user says that it is this format: keys of another one do no harm.
        """
        return (
            self.keys <= row.keys()
            and (is_named or not self.without & row.keys())
            and all(any(key in row for key in keys) for keys in self.one_of.values())
            and any(map(self.some_key.fullmatch, row))
        )

    def binds(self, row: Row, where: str) -> tuple[parsers.Parse, frozenset[str]]:
        """From the first row of a file the function that reads all its rows, and the keys that it needs.

        Raises:
            UserError: A part is there under several keys.
        """
        names = self.names_in(row, where)
        return self.bind(row, names), frozenset(names.values())

    def names_in(self, row: Row, where: str) -> dict[str, str]:
        """The key that stands for each part.

        Raises:
            UserError: A part is there under several keys.
        """
        names = {}
        for part, keys in self.one_of.items():
            present = [key for key in keys if key in row]
            if part == "prompt":
                present = _prompts_of(present, row)
            if len(present) > 1:
                raise self._several(part, present, row, where)
            names[part] = present[0]
        return names

    def _several(self, part: str, present: list[str], row: Row, where: str) -> UserError:
        return UserError(
            where,
            found=f"keys {parsers.shown(row)}, of which {' and '.join(present)} could each be the {part}",
            expected=f"one of: {', '.join(present)}",
            do=f"say which under data.files.columns (data.hub.columns), such as "
            f"`{part}: {present[0]}`, with the other columns of {self.described}",
        )

    @property
    def described(self) -> str:
        """Its name and keys, of each part the usual one."""
        usual = (keys[0] for keys in self.one_of.values())
        return f"{self.name} ({', '.join([*usual, *sorted(self.keys), *filter(None, [self.also])])})"


@dataclass(frozen=True)
class PairedColumnsFormat(Format):
    """Answers under two names that differ in their end (`paired_columns`); other formats come first."""

    def has_keys_of(self, row: Row, *, is_named: bool = False) -> bool:
        """Whether there are two answers, what is asked, and something that says which is better."""
        asked = any(key in row for key in PROMPTS)
        return any(
            asked or isinstance(row[sides.first], list | dict) or _TALK.match(sides.first)
            for sides in paired_columns_in(row)
        )

    def binds(self, row: Row, where: str) -> tuple[parsers.Parse, frozenset[str]]:
        """As for any format; all the keys of the two sides are needed."""
        ways = paired_columns_in(row)
        if len(ways) > 1:
            raise UserError(
                where,
                found=f"keys {parsers.shown(row)}, which can be read in several ways: "
                + "; ".join(f"{one.first}, {one.second} by {' and '.join(one.verdict)}" for one in ways[:6]),
                expected="one of them",
                do="say which under data.files.columns (data.hub.columns), such as `response_a: "
                f"{ways[0].first}`, `response_b: {ways[0].second}`, `winner: {ways[0].verdict[0]}`, "
                "and the prompt",
            )
        (sides,) = ways
        present = _prompts_of([key for key in PROMPTS if key in row], row | {"chosen": row[sides.first]})
        prompt = {"prompt": present[0]} if present else {}
        if len(present) > 1:
            raise self._several("prompt", present, row, where)
        needs = {sides.first, sides.second, *sides.verdict, *prompt.values()}
        return public.paired_columns(sides)(row, prompt), frozenset(needs)


_TALK = re.compile(r"conv|messages")


def _prompts_of(present: list[str], row: Row) -> list[str]:
    """Which of the keys are what is asked, where several are there."""
    if len(present) > 1 and any(map(_is_whole, map(row.get, _PAIR["chosen"].split()))):
        return present[:1]  # it is asked in the conversations themselves
    if "instruction" in present and "input" in present:  # what the instruction is about
        present = [key for key in present if key != "input"]
    for beside in ("query", "conversations"):  # the same in our form, or the whole
        if len(present) > 1 and beside in present:
            present = [key for key in present if key != beside]
    return present


def _is_whole(value: Any) -> bool:
    """Whether a conversation has what was asked in it."""
    return isinstance(value, list) and any(
        isinstance(one, dict) and (one.get("role") == "user" or one.get("from") in ("human", "user"))
        for one in value
    )


def matching(row: Row, formats: Sequence[Format], *, is_named: bool = False) -> list[Format]:
    """The formats that a row has: two sides only where no other format of their kind fits."""
    fits = [format for format in formats if format.has_keys_of(row, is_named=is_named)]
    kinds = {format.kind for format in fits if not isinstance(format, PairedColumnsFormat)}
    return [
        format for format in fits if not isinstance(format, PairedColumnsFormat) or format.kind not in kinds
    ]


def recognize(row: Row, formats: Sequence[Format], where: str, *, name: str = "") -> Format:
    """The one format of a file's first row.

    Args:
        row: The first row.
        formats: Those that it may have.
        where: For messages.
        name: The only one that it may have, "" for any.

    Raises:
        UserError: The keys are those of no format, or of several, or not those of the one that is named.
    """
    allowed = [format for format in formats if name in ("", format.name)]
    if not allowed:
        raise UserError(
            "params.yaml: data.format",
            found=f"{name!r:.60}",
            expected="'' or one of: " + "; ".join(format.described for format in formats),
            do="write the name of one of them, or '' and it is recognized",
        )
    matches = matching(row, allowed, is_named=bool(name))
    if len(matches) == 1:
        return matches[0]
    if not matches and (error := explain_unsupported(row, where)):
        raise error
    problem = "that are of several formats at once" if matches else "of no known format"
    raise UserError(
        where,
        found=f"keys {parsers.shown(row)} {problem}",
        expected="one of: " + "; ".join(format.described for format in matches or allowed),
        do="name the format of comparisons under data.format"
        if matches
        else "rename keys, or map columns under data.files.columns (data.hub.columns)",
    )


def _format(kind: str, name: str, keys: str, bind: Bind, *, without: str = "", **parts: str) -> Format:
    """A format with its keys as words; one of those of a part is there: `chosen="chosen chosen_response"`."""
    one_of = {part: tuple(words.split()) for part, words in parts.items()}
    return Format(kind, name, frozenset(keys.split()), bind, one_of, frozenset(without.split()))


_PROMPT = " ".join(PROMPTS)
_PAIR = {
    "chosen": "chosen chosen_response response_chosen response_j",
    "rejected": "rejected rejected_response response_rejected response_k",
}
COMPARISONS = [
    _format("comparison", "responses", "query responses scores", parsers.always(parsers.own_comparison)),
    _format("comparison", "texts", "text", parsers.by_separator, scores="scores score"),
    _format("comparison", "pairs", "", parsers.pair, prompt=_PROMPT, **_PAIR),
    _format(
        "comparison",
        "dialogues",
        "",
        parsers.whole_pair,
        without=_PROMPT,
        chosen="chosen",
        rejected="rejected",
    ),
    _format(
        "comparison",
        "indexed",
        "response_0 response_1",
        public.indexed,
        prompt=_PROMPT,
        better="better_response_id better",
    ),
    _format("comparison", "scored", "response_0 response_1 score_0 score_1", public.scored, prompt=_PROMPT),
    _format(
        "comparison",
        "strength",
        "",
        public.by_strength,
        prompt=_PROMPT,
        first="response_1 response1",
        second="response_2 response2",
        strength="preference_strength overall_preference",
    ),
    _format("comparison", "history", "history human_ref_A human_ref_B labels", public.history),
    _format("comparison", "answers", "answers", public.listed("answers"), prompt=_PROMPT),
    _format("comparison", "completions", "completions", public.listed("completions"), prompt=_PROMPT),
    _format("comparison", "summaries", "info summaries choice", public.summaries),
    _format("comparison", "arena", "conversation_a conversation_b winner", public.arena),
    PairedColumnsFormat(
        "comparison",
        "paired_columns",
        frozenset(),
        lambda first, names: public.paired_columns(paired_columns_in(first)[0])(first, names),
        {},
        also="prompt, response_a, response_b, winner",
    ),
]
GOLDEN = [_format("golden", "golden", "query golden", parsers.always(parsers.golden))]
SAMPLES = [
    _format("samples", "samples", "query samples", parsers.always(parsers.own_samples), without="completion"),
    Format(
        "samples",
        "numbered_samples",
        keys=frozenset({"query"}),
        bind=parsers.always(parsers.numbered_samples),
        one_of={},
        some_key=parsers.SAMPLE,
        also="sample_0, sample_1, ...",
    ),
]
DEMONSTRATIONS = [
    *COMPARISONS,
    *GOLDEN,
    *SAMPLES,
    _format(
        "demonstration",
        "prompt_and_answer",
        "",
        parsers.demonstration,
        prompt=_PROMPT,
        answer="completion response output answer",
    ),
    _format(
        "demonstration",
        "messages",
        "messages",
        lambda first, names: parsers.conversation("messages", {}),
        without="chosen completion",
    ),
    _format(
        "demonstration",
        "conversations",
        "conversations",
        lambda first, names: parsers.conversation("conversations", {}),
        without="chosen chosen_response messages",
    ),
]
