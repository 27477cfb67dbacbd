"""All formats that rows of files may have: of this project, of the authors, of public preference sets."""

from collections.abc import Mapping
from typing import Any

from apo.datasets import formats, pairs
from apo.datasets import public_formats as public
from apo.datasets.columns import PROMPTS
from apo.datasets.paired_columns import paired_columns_in
from apo.datasets.parsed import Bind, always
from apo.datasets.recognize import CHOSEN, Format, PairedColumnsFormat


def _format(
    kind: str, name: str, keys: str, bind: Bind, parts: Mapping[str, str] | None = None, **options: Any
) -> Format:
    """A format with its keys as words; of a part's keys one is there: `{"chosen": "chosen response_j"}`."""
    part_keys = {part: tuple(words.split()) for part, words in (parts or {}).items()}
    options["without"] = frozenset(options.get("without", "").split())
    return Format(kind, name, frozenset(keys.split()), bind, part_keys, **options)


_PROMPT = {"prompt": " ".join(PROMPTS)}
_PAIR_PROMPT = {"prompt": f"{_PROMPT['prompt']} messages"}
_PAIR = {
    "chosen": " ".join(CHOSEN),
    "rejected": "rejected rejected_response response_rejected response_k",
}
_GRADES = {
    r"(score|rating|avg_rating)[_-](chosen|rejected)": "grade, compared with the order",
    r"(chosen|rejected)[_-](score|rating|avg_rating)": "grade, compared with the order",
}
_LISTED_PROMPT = {"prompt": " ".join(key for key in PROMPTS if key != "query")}
_STRENGTH = {
    "first": "response_1 response1",
    "second": "response_2 response2",
    "strength": "preference_strength overall_preference",
}


def _comparison(name: str, keys: str, bind: Bind, **parts: str) -> Format:
    return _format("comparison", name, keys, bind, _PROMPT | parts)


COMPARISONS = [
    _format(
        "comparison", "responses", "query responses scores", always(formats.comparison), has_context=False
    ),
    _format(
        "comparison", "texts", "text", formats.by_separator, {"scores": "scores score"}, has_context=False
    ),
    _format("comparison", "pairs", "", pairs.pair, _PAIR_PROMPT | _PAIR, other_roles=_GRADES),
    _format(
        "comparison",
        "dialogues",
        "",
        pairs.whole_pair,
        {"chosen": "chosen", "rejected": "rejected"},
        without=_PAIR_PROMPT["prompt"],
        other_roles=_GRADES,
    ),
    _format(
        "comparison",
        "indexed",
        "response_0 response_1",
        public.indexed,
        _PROMPT | {"better": "better_response_id better"},
        label=("better", "0", "1"),
    ),
    _comparison("scored", "response_0 response_1 score_0 score_1", public.scored),
    _comparison("strength", "", public.by_strength, **_STRENGTH),
    _format(
        "comparison",
        "history",
        "history human_ref_A human_ref_B labels",
        public.history,
        label=("labels", "A", "B"),
    ),
    _comparison("listed", "responses scores", public.listed, prompt=_LISTED_PROMPT["prompt"]),
    _comparison("answers", "answers", public.answer_list("answers")),
    _comparison("completions", "completions", public.answer_list("completions")),
    _format(
        "comparison",
        "summaries",
        "info summaries choice",
        public.summaries,
        has_context=False,
        label=("choice", "0", "1"),
    ),
    _format(
        "comparison",
        "arena",
        "conversation_a conversation_b winner",
        public.arena,
        label=("winner", "a", "b"),
    ),
    PairedColumnsFormat(
        "comparison",
        "paired_columns",
        frozenset(),
        lambda first, names: public.paired_columns(paired_columns_in(first)[0])(first, names),
        {},
        extra_keys="prompt, response_a, response_b, winner",
    ),
]
GOLDEN = [_format("golden", "golden", "query golden", always(formats.golden), has_context=False)]
SAMPLES = [
    _format(
        "samples",
        "samples",
        "query samples",
        always(formats.samples),
        without="completion",
        has_context=False,
        other_roles={"extra": "other answers", "rewards|scores|source_rewards": "rewards of the source"},
    ),
    Format(
        "samples",
        "numbered_samples",
        keys=frozenset({"query"}),
        bind=always(formats.numbered_samples),
        part_keys={},
        key_pattern=formats.SAMPLE,
        extra_keys="sample_0, sample_1, ...",
        other_roles={
            formats.SAMPLE.pattern: "samples",
            formats.OTHER_ANSWER.pattern: "other answers",
            "scores": "rewards of the source",
        },
        has_context=False,
    ),
]
# A file of samples may also have responses with scores, which are read as rewards.
SCORED_SAMPLES = [
    *SAMPLES,
    _format("samples", "responses", "query responses scores", always(formats.comparison), has_context=False),
    _format("samples", "listed", "responses scores", public.listed, _LISTED_PROMPT),
    _format("samples", "answers", "answers", public.answer_list("answers"), _PROMPT),
    _format("samples", "completions", "completions", public.answer_list("completions"), _PROMPT),
]
DEMONSTRATIONS = [
    *COMPARISONS,
    *GOLDEN,
    *SAMPLES,
    _format(
        "demonstration",
        "prompt_and_answer",
        "",
        pairs.demonstration,
        _PROMPT | {"answer": "completion response output answer"},
    ),
    _format(
        "demonstration",
        "messages",
        "messages",
        lambda first, names: pairs.conversation("messages", {}),
        without="chosen completion",
    ),
    _format(
        "demonstration",
        "conversations",
        "conversations",
        lambda first, names: pairs.conversation("conversations", {}),
        without="chosen chosen_response messages",
    ),
]
