"""All formats that rows of files may have: of this project, of the authors, of public preference sets."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from apo.datasets import formats, pairs
from apo.datasets import public_formats as public
from apo.datasets.columns import PROMPTS
from apo.datasets.pair_verdicts import roles_beside
from apo.datasets.parsed import ByFirstRow, Parser
from apo.datasets.prompts import CHOSEN
from apo.datasets.recognize import Format, PairedColumnsFormat
from apo.datasets.strengths import StrengthParser


def _format(
    kind: str, name: str, keys: str, parse: Parser, parts: Mapping[str, str] | None = None, **options: Any
) -> Format:
    """A format; texts list its keys. A row has one key of each part: `{"chosen": "chosen response_j"}`."""
    part_keys = {part: tuple(words.split()) for part, words in (parts or {}).items()}
    options["without"] = frozenset(options.get("without", "").split())
    return Format(kind, name, frozenset(keys.split()), parse, part_keys, **options)


_PROMPT = {"prompt": " ".join(PROMPTS)}
_PAIR_PROMPT = {"prompt": f"{_PROMPT['prompt']} messages"}
_PAIR = {
    "chosen": " ".join(CHOSEN),
    "rejected": "rejected rejected_response response_rejected response_k",
}
_REJECTED = "rejected rejected_response rejected_message rejected_messages"
_LISTED_PROMPT = {"prompt": " ".join(key for key in PROMPTS if key != "query")}
_STRENGTH = {
    "first": "response_1 response1",
    "second": "response_2 response2",
    "strength": "preference_strength overall_preference",
}
_RATED_PARTS = {**_LISTED_PROMPT, "rewards": "rewards ratings ranks"}
_OF_OTHERS = "chosen rejected scores completion response output answer messages golden samples"
_ANSWERS = partial(public.parse_answer_list, "answers")
_COMPLETIONS = partial(public.parse_answer_list, "completions")


def _comparison(name: str, keys: str, parse: Parser, **parts: str) -> Format:
    return _format("comparison", name, keys, parse, _PROMPT | parts)


COMPARISONS = [
    _format("comparison", "responses", "query responses scores", formats.parse_comparison, has_context=False),
    _format(
        "comparison",
        "texts",
        "text",
        ByFirstRow(formats.choose_text_parser),
        {"scores": "scores score"},
        has_context=False,
    ),
    _format(
        "comparison",
        "pairs",
        "",
        ByFirstRow(pairs.choose_pair_parser, roles_beside),
        _PAIR_PROMPT | _PAIR,
    ),
    _format(
        "comparison",
        "dialogues",
        "",
        ByFirstRow(pairs.choose_dialogue_pair_parser, roles_beside),
        {"chosen": "chosen", "rejected": "rejected"},
        without=_PAIR_PROMPT["prompt"],
    ),
    _format(
        "comparison",
        "answer_and_rejected",
        "",
        ByFirstRow(pairs.choose_pair_parser, roles_beside),
        _PROMPT | {"chosen": "response completion output answer", "rejected": _REJECTED},
        without=_PAIR["chosen"],
    ),
    _format(
        "comparison",
        "conversation_and_rejected",
        "",
        ByFirstRow(pairs.choose_rejected_parser, roles_beside),
        {"chosen": "messages conversations", "rejected": _REJECTED},
        without=f"{_PAIR['chosen']} completion",
    ),
    _format(
        "comparison",
        "indexed",
        "response_0 response_1",
        public.parse_indexed,
        _PROMPT | {"better": "better_response_id better"},
        label=("better", "0", "1"),
    ),
    _comparison("scored", "response_0 response_1 score_0 score_1", public.parse_scored),
    _format(
        "comparison",
        "strength",
        "",
        ByFirstRow(lambda first, names: StrengthParser()),
        _PROMPT | _STRENGTH,
        label=("strength", "1", "2"),
    ),
    _format(
        "comparison",
        "history",
        "history human_ref_A human_ref_B labels",
        public.parse_history,
        label=("labels", "A", "B"),
    ),
    _comparison("listed", "responses scores", public.parse_listed, prompt=_LISTED_PROMPT["prompt"]),
    _format("comparison", "rated", "responses", public.parse_rated, _RATED_PARTS, without=_OF_OTHERS),
    _comparison("answers", "answers", _ANSWERS),
    _comparison("completions", "completions", _COMPLETIONS),
    _format(
        "comparison",
        "summaries",
        "info summaries choice",
        public.parse_summaries,
        has_context=False,
        label=("choice", "0", "1"),
    ),
    _format(
        "comparison",
        "arena",
        "conversation_a conversation_b winner",
        public.parse_arena,
        label=("winner", "a", "b"),
    ),
    PairedColumnsFormat(
        "comparison",
        "paired_columns",
        frozenset(),
        ByFirstRow(public.choose_paired_columns_parser),
        {},
        extra_keys="prompt, response_a, response_b, winner",
        other_roles={r"model_?(name_)?[abAB012]": "model of an answer, which the label may name"},
    ),
]
GOLDEN = [_format("golden", "golden", "query golden", formats.parse_golden, has_context=False)]
_SAMPLE_REWARDS = r"(source_|sample_)?rewards|(sample_)?(scores|ratings|ranks)"
SAMPLES = [
    _format(
        "samples",
        "samples",
        "query samples",
        formats.parse_samples,
        without="completion",
        has_context=False,
        other_roles={"extra": "other answers", _SAMPLE_REWARDS: "rewards of the source"},
    ),
    Format(
        "samples",
        "numbered_samples",
        keys=frozenset({"query"}),
        parse=formats.parse_numbered_samples,
        part_keys={},
        key_pattern=formats.SAMPLE,
        extra_keys="sample_0, sample_1, ...",
        other_roles={
            formats.SAMPLE.pattern: "samples",
            formats.OTHER_ANSWER.pattern: "other answers",
            r"scores|(score|reward|rating)_\d+|sample_\d+_(score|reward)": "rewards of the source",
        },
        has_context=False,
    ),
]
# A file of samples may also have responses with scores, which are read as rewards.
SCORED_SAMPLES = [
    *SAMPLES,
    _format("samples", "responses", "query responses scores", formats.parse_comparison, has_context=False),
    _format("samples", "listed", "responses scores", public.parse_listed, _LISTED_PROMPT),
    _format("samples", "rated", "responses", public.parse_rated, _RATED_PARTS, without=_OF_OTHERS),
    _format("samples", "answers", "answers", _ANSWERS, _PROMPT),
    _format("samples", "completions", "completions", _COMPLETIONS, _PROMPT),
]
DEMONSTRATIONS = [
    *COMPARISONS,
    *GOLDEN,
    *SAMPLES,
    _format(
        "demonstration",
        "prompt_and_answer",
        "",
        ByFirstRow(pairs.choose_demonstration_parser),
        _PROMPT | {"answer": "completion response output answer"},
        without=_REJECTED,
    ),
    _format(
        "demonstration",
        "messages",
        "messages",
        partial(pairs.parse_conversation, "messages"),
        without=f"chosen completion {_REJECTED}",
    ),
    _format(
        "demonstration",
        "conversations",
        "conversations",
        partial(pairs.parse_conversation, "conversations"),
        without=f"chosen chosen_response messages {_REJECTED}",
    ),
]
