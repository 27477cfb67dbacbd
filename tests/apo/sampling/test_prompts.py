"""apo/sampling/prompts.py: the queries as their model reads them, cut and left out as it says."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.model.encoding import Encoder
from apo.sampling.prompts import Prompt, encode_prompts, sampling_encoder
from tests.helpers import tiny_models as tiny

ROWS = [
    {"query_id": "a", "query": tiny.query("What is 1 plus 2?"), "type": "sums"},
    {"query_id": "b", "query": "Be brief." + tiny.query("Where?")},
    {"query_id": "c", "query": tiny.query("Tell me a story about a good dog.")},
]
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system text') }}{% endif %}"
    "{% for m in messages %}{{ bos_token + m['role'] + ':' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant:' }}{% endif %}"
)


def encoder(max_length: int = 64, *, template: str | None = None, refused: str = "error") -> Encoder:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    tokenizer.init_kwargs["refused_dialogues"] = refused
    return Encoder(tokenizer, max_length, "last", "", "left", ends=(2,))


def prompts(reading: Encoder) -> tuple[list[Prompt], Counter[str]]:
    counts: Counter[str] = Counter()
    return encode_prompts(reading, ROWS, counts, where="queries.jsonl"), counts


def test_encode_prompts_gives_the_query_of_a_row() -> None:
    encoded, counts = prompts(encoder())
    assert [one.query_id for one in encoded] == ["a", "b", "c"] and [one.row for one in encoded] == ROWS
    read = tiny.shared_tokenizer()
    assert [read.decode(one.ids) for one in encoded] == [f"<s>{row['query']}" for row in ROWS]
    assert counts == Counter(prompts_cut=0) and "prompts_cut" in counts


def test_encode_prompts_gives_the_ids_of_transformers() -> None:
    reading = encoder(template=NO_SYSTEM)
    [first, _] = encode_prompts(reading, ROWS[::2], Counter(), where="queries.jsonl")
    messages = [{"role": "user", "content": "What is 1 plus 2?"}]
    expected = reading.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert first.ids == expected


def test_encode_prompts_cuts_a_long_prompt_after_its_first_token() -> None:
    whole, _ = prompts(encoder())
    shortest = min(len(one.ids) for one in whole)
    cut, counts = prompts(encoder(shortest))
    assert counts["prompts_cut"] == 2
    for one, full in zip(cut, whole, strict=True):
        assert one.ids == [1, *full.ids[1 - shortest :]]


def test_encode_prompts_drops_or_refuses_a_refused_dialogue() -> None:
    encoded, counts = prompts(encoder(template=NO_SYSTEM, refused="drop"))
    assert [one.row for one in encoded] == ROWS[::2]
    assert (counts["dialogues_dropped"], counts["prompts_cut"]) == (1, 0)
    encoded, counts = prompts(encoder(template=NO_SYSTEM, refused="merge"))
    assert [one.row for one in encoded] == ROWS and counts["dialogues_merged"] == 1
    assert "Be brief.\n\nWhere?" in tiny.shared_tokenizer().decode(encoded[1].ids)
    with pytest.raises(UserError, match=r"queries\.jsonl: found a dialogue .* refuses \(no system text\)"):
        prompts(encoder(template=NO_SYSTEM))


def settings_of(folder: Path, **changes: Any) -> Encoder:
    return sampling_encoder(folder, tiny.sampling(**changes))


def test_sampling_encoder_reads_the_checkpoint(tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "llm")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 9]}))
    reading = settings_of(folder, max_prompt_tokens=40)
    assert (reading.max_length, reading.ends, reading.turn_end) == (40, (2, 9), [2])


def test_sampling_encoder_refuses_what_prompt_and_response_have_no_positions_for(tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "llm")
    settings_of(folder, max_prompt_tokens=200, max_new_tokens=56)
    with pytest.raises(
        UserError,
        match=r"sample\.PART\.max_prompt_tokens \+ max_new_tokens: found 257 tokens .* 256 positions",
    ):
        settings_of(folder, max_prompt_tokens=200, max_new_tokens=57)


def test_encode_prompts_refuses_a_limit_without_room_for_a_query(tmp_path: Path) -> None:
    reading = settings_of(tiny.backbone(tmp_path / "llm"), max_prompt_tokens=2)
    with pytest.raises(
        UserError, match=r"sample\.PART\.max_prompt_tokens: found 2, of which the chat template"
    ):
        encode_prompts(reading, ROWS, Counter(), where="queries.jsonl")
