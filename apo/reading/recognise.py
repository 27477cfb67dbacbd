"""The shapes that rows of other people's files have, recognised by their keys."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apo.errors import UserError
from apo.reading import shapes as say
from apo.reading.shapes import SEPARATOR as SEPARATOR
from apo.records import Row

# Keys under which public sets have what is asked, and what else belongs to it.
PROMPTS = ("prompt", "question", "instruction", "input", "context", "query", "conversations")
_ANY = re.compile(r".*", re.DOTALL)


@dataclass(frozen=True)
class Shape:
    """One way to write a row.

    Args:
        kind: comparison, golden, samples or demonstration.
        name: What `data.shape` calls it.
        keys: Keys that must be there.
        bind: From the first row of a file, whose values tell texts from lists, and the keys that stand for
            the parts of a row, to the function that reads all its rows.
        one_of: Parts of a row with the keys that may stand for each.
        without: Keys that make it another shape.
        some_key: What at least one key looks like.
        also: What the keys mean, for messages.
    """

    kind: str
    name: str
    keys: frozenset[str]
    bind: say.Bind
    one_of: Mapping[str, tuple[str, ...]]
    without: frozenset[str] = frozenset()
    some_key: re.Pattern[str] = _ANY
    also: str = ""

    def has_keys_of(self, row: Row, *, is_named: bool = False) -> bool:
        """Whether the row's keys are those of this shape; other keys beside them are not read.

        Args:
            row: The row.
            is_named: The user says that it is this shape: keys of another one do no harm.
        """
        return (
            self.keys <= row.keys()
            and (is_named or not self.without & row.keys())
            and all(any(key in row for key in keys) for keys in self.one_of.values())
            and any(map(self.some_key.fullmatch, row))
        )

    def names_in(self, row: Row, where: str) -> dict[str, str]:
        """The key that stands for each part.

        Raises:
            UserError: A part is there under several keys.
        """
        names = {}
        for part, keys in self.one_of.items():
            present = [key for key in keys if key in row]
            if part == "prompt":
                present = _prompts_of(present)
            if len(present) > 1:
                raise UserError(
                    where,
                    found=f"keys {say.shown(row)}, of which {' and '.join(present)} could each be the {part}",
                    expected=f"one of: {', '.join(present)}",
                    do=f"say which under data.files.columns (data.hub.columns), such as "
                    f"`{part}: {present[0]}`, with the other columns of {self.described}",
                )
            names[part] = present[0]
        return names

    @property
    def described(self) -> str:
        """Its name and keys, of each part the usual one."""
        usual = (keys[0] for keys in self.one_of.values())
        return f"{self.name} ({', '.join([*usual, *sorted(self.keys), *filter(None, [self.also])])})"


def _prompts_of(present: list[str]) -> list[str]:
    """Which of the keys are what is asked, where several are there."""
    if "instruction" in present and "input" in present:  # what the instruction is about
        present = [key for key in present if key != "input"]
    for beside in ("query", "conversations"):  # the same in our form, or the whole
        if len(present) > 1 and beside in present:
            present = [key for key in present if key != beside]
    return present


def recognise(row: Row, shapes: Sequence[Shape], where: str, *, name: str = "") -> Shape:
    """The one shape of a file's first row.

    Args:
        row: The first row.
        shapes: Those that it may have.
        where: For messages.
        name: The only one that it may have, "" for any.

    Raises:
        UserError: The keys are those of no shape, or of several, or not those of the one that is named.
    """
    allowed = [shape for shape in shapes if name in ("", shape.name)]
    if not allowed:
        raise UserError(
            "params.yaml: data.shape",
            found=f"{name!r:.60}",
            expected="'' or one of: " + "; ".join(shape.described for shape in shapes),
            do="write the name of one of them, or '' and it is recognised",
        )
    matches = [shape for shape in allowed if shape.has_keys_of(row, is_named=bool(name))]
    if len(matches) == 1:
        return matches[0]
    problem = "that are of several shapes at once" if matches else "of no known shape"
    raise UserError(
        where,
        found=f"keys {say.shown(row)} {problem}",
        expected="one of: " + "; ".join(shape.described for shape in matches or allowed),
        do="name the shape of comparisons under data.shape"
        if matches
        else "rename keys, or map columns under data.files.columns (data.hub.columns)",
    )


def _shape(kind: str, name: str, keys: str, bind: say.Bind, *, without: str = "", **parts: str) -> Shape:
    """A shape with its keys as words; one of those of a part is there: `chosen="chosen chosen_response"`."""
    one_of = {part: tuple(words.split()) for part, words in parts.items()}
    return Shape(kind, name, frozenset(keys.split()), bind, one_of, frozenset(without.split()))


_PROMPT = " ".join(PROMPTS)
_PAIR = {
    "chosen": "chosen chosen_response response_chosen",
    "rejected": "rejected rejected_response response_rejected",
}
COMPARISONS = [
    _shape("comparison", "responses", "query responses scores", say.always(say.own_comparison)),
    _shape("comparison", "texts", "text", say.by_separator, scores="scores score"),
    _shape("comparison", "pairs", "", say.pair, prompt=_PROMPT, **_PAIR),
    _shape(
        "comparison",
        "dialogues",
        "",
        say.whole_pair,
        without=_PROMPT,
        chosen="chosen",
        rejected="rejected",
    ),
    _shape(
        "comparison",
        "indexed",
        "response_0 response_1",
        say.indexed,
        prompt=_PROMPT,
        better="better_response_id better",
    ),
    _shape("comparison", "scored", "response_0 response_1 score_0 score_1", say.scored, prompt=_PROMPT),
    _shape(
        "comparison",
        "strength",
        "",
        say.by_strength,
        prompt=_PROMPT,
        first="response_1 response1",
        second="response_2 response2",
        strength="preference_strength overall_preference",
    ),
    _shape("comparison", "history", "history human_ref_A human_ref_B labels", say.history),
    _shape("comparison", "answers", "answers", say.listed("answers"), prompt=_PROMPT),
    _shape("comparison", "completions", "completions", say.listed("completions"), prompt=_PROMPT),
    _shape("comparison", "arena", "conversation_a conversation_b winner", say.arena),
]
GOLDEN = [_shape("golden", "golden", "query golden", say.always(say.golden))]
SAMPLES = [
    _shape("samples", "samples", "query samples", say.always(say.own_samples), without="completion"),
    Shape(
        "samples",
        "numbered samples",
        keys=frozenset({"query"}),
        bind=say.always(say.numbered_samples),
        one_of={},
        some_key=say.SAMPLE,
        also="sample_0, sample_1, ...",
    ),
]
DEMONSTRATIONS = [
    *COMPARISONS,
    *GOLDEN,
    *SAMPLES,
    _shape(
        "demonstration",
        "prompt and answer",
        "",
        say.demonstration,
        prompt=_PROMPT,
        answer="completion response output answer",
    ),
    _shape(
        "demonstration",
        "messages",
        "messages",
        lambda first, names: say.conversation("messages", {}),
        without="chosen completion",
    ),
    _shape(
        "demonstration",
        "conversations",
        "conversations",
        lambda first, names: say.conversation("conversations", {}),
        without="chosen chosen_response messages",
    ),
]
