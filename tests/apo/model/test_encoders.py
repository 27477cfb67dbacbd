"""apo/model/encoders.py: how reward models and language models read, and the tokens that end a response."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.model.encoders import end_ids, language_encoder, read_end_ids, reward_encoder
from apo.model.settings import Model
from tests.helpers import odd_tokenizers as odd
from tests.helpers import tiny_models as tiny

QUERY = tiny.query("What is 1 plus 2?")
OWN = (
    "{% for m in messages %}{{ bos_token + m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant: ' }}{% endif %}"
)


def reading(**changes: Any) -> Model:
    return Model(**(tiny.READING | changes))


# Reward models


def test_reward_encoder_reads_by_the_settings() -> None:
    tokenizer = tiny.tokenizer()
    encoder = reward_encoder(tokenizer, reading(pooling="eos", truncation_side="right"), where="m")
    assert encoder.tokenizer is tokenizer and encoder.ends == ()
    assert (encoder.max_length, encoder.pooling, encoder.separator) == (64, "eos", "")
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("right", "right")
    assert len(tokenizer) == 380


def test_reward_encoder_adds_a_separator_once() -> None:
    tokenizer = tiny.tokenizer()
    for _ in range(2):
        encoder = reward_encoder(tokenizer, reading(separator="<sep>"), where="m")
        assert tokenizer.convert_tokens_to_ids("<sep>") == 380 and len(tokenizer) == 381
        assert encoder.template.generation_prompt[-1] == 380
    words = odd.word_level()
    reward_encoder(words, reading(separator="pad>"), where="m")
    assert len(words) == len(odd.WORDS)  # a word that it has


@pytest.mark.parametrize("pooling", ["eos", "average", "max"])
def test_reward_encoder_needs_an_end_token_where_its_pooling_does(pooling: str) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.eos_token = None
    assert reward_encoder(tokenizer, reading(), where="m").pooling == "last"
    with pytest.raises(UserError, match=rf"m: found .* without an end token and `model\.pooling: {pooling}`"):
        reward_encoder(tokenizer, reading(pooling=pooling), where="m")


@pytest.mark.parametrize("pooling", ["last", "eos"])
@pytest.mark.parametrize("template", [None, OWN])
def test_reward_encoder_never_ends_a_sequence_with_the_padding_token(
    pooling: str, template: str | None
) -> None:
    """The stock classes pool the last token that is not padding."""
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token, tokenizer.chat_template = "</s>", template
    encoder = reward_encoder(tokenizer, reading(pooling=pooling), where="m")
    [item] = encoder.items([(QUERY, ["3"])], Counter(), where="rows")
    ends = pooling == "eos" or template is not None
    assert (item.responses[0][-1] == 2) == ends
    assert tokenizer.pad_token == ("<pad>" if ends else "</s>")


# Language models


@pytest.mark.parametrize(
    ("values", "expected"),
    [((), ()), ((None, None), ()), ((2,), (2,)), ((7, [2, 7], None, (5,)), (2, 5, 7)), (([], 0), (0,))],
)
def test_end_ids_by_hand(values: tuple[Any, ...], expected: tuple[int, ...]) -> None:
    assert end_ids(*values) == expected


def ends_of(folder: Path, config: Any, generation: Any, *, eos: str | None = "</s>") -> tuple[int, ...]:
    """Of a checkpoint with these end tokens in its files, and this one in its tokenizer."""
    for name, value in (("config.json", config), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps({} if value is None else {"eos_token_id": value}))
    tokenizer = tiny.tokenizer()
    tokenizer.eos_token = eos
    return read_end_ids(folder, tokenizer)


def test_read_end_ids_is_the_union_of_tokenizer_and_both_files(tmp_path: Path) -> None:
    assert ends_of(tmp_path, None, None) == (2,)
    assert ends_of(tmp_path, 9, [7, 9]) == (2, 7, 9)
    assert ends_of(tmp_path, [4], None, eos=None) == (4,)
    with pytest.raises(UserError, match="found a checkpoint without an end token"):
        ends_of(tmp_path, None, [], eos=None)


def test_read_end_ids_needs_no_generation_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 5}))
    assert read_end_ids(tmp_path, tiny.tokenizer()) == (2, 5)
    (tmp_path / "generation_config.json").write_text("[]")
    with pytest.raises(UserError, match=r"generation_config\.json: found \[\]; expected a JSON object"):
        read_end_ids(tmp_path, tiny.tokenizer())


def test_language_encoder_learns_the_end_that_the_template_writes(tmp_path: Path) -> None:
    """Of several that end a response, and what the template writes behind it is not learned."""
    folder, tokenizer = tiny.backbone(tmp_path / "a"), tiny.tokenizer()
    tokenizer.chat_template = OWN.replace("eos_token", "'<pad>\\n'")
    encoder = language_encoder(folder, tokenizer, max_length=64, parameter="align.max_length")
    assert encoder.ends == (2,) and encoder.turn_end == [3]  # the first special token
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 3]}))
    encoder = language_encoder(folder, tokenizer, max_length=64, parameter="align.max_length")
    assert encoder.ends == (2, 3) and encoder.turn_end == [3]
    assert (encoder.truncation_side, encoder.separator, encoder.parameter) == ("left", "", "align.max_length")


def test_language_encoder_learns_the_end_of_the_tokenizer_where_the_template_writes_none(
    tmp_path: Path,
) -> None:
    folder, tokenizer = tiny.backbone(tmp_path / "a"), tiny.tokenizer()
    tokenizer.chat_template = OWN.replace(" + eos_token", "")
    encoder = language_encoder(folder, tokenizer, max_length=64, parameter="align.max_length")
    assert encoder.turn_end == [2]


def test_language_encoder_refuses_more_than_the_positions_of_the_model(tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "a")
    language_encoder(folder, tiny.tokenizer(), max_length=256, parameter="align.max_length")
    with pytest.raises(UserError, match=r"align\.max_length: found 257 tokens .* 256 positions"):
        language_encoder(folder, tiny.tokenizer(), max_length=257, parameter="align.max_length")
