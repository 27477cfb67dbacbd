"""apo/language/tokenizer.py: the tokenizer that is saved is the one that sentencepiece trained."""

import io
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.core.errors import UserError
from apo.language.tokenizer import TURNS, train_tokenizer
from apo.model.checkpoint import load_tokenizer
from tests.helpers import tiny_models as tiny

SAMPLES = [
    *tiny.TEXTS,
    "",
    " ",
    "  two  spaces  ",
    "\n\n\nHuman: no turn\n\nHuman:turn",
    "Tabs\tand\r\nlines",
    "Größe 東京 \U0001f600 naïve",
    "12345 3.14 -7",
    "<s> </s> <unk> <pad> <0x41>",
    "a\u00a0b\u200bc e\u0301",
]


def ids_of(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Our tokenizer, and sentencepiece with the very model that was trained."""
    written: list[io.BytesIO] = []
    train = sentencepiece.SentencePieceTrainer.train

    def remember(**settings: Any) -> None:
        written.append(settings["model_writer"])
        train(**settings)

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", remember)
    tokenizer = train_tokenizer(tiny.TEXTS, vocab_size=380)
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(written[0].getvalue())
    return tokenizer, processor


def test_train_tokenizer_gives_the_ids_of_sentencepiece(both: tuple[Any, Any]) -> None:
    tokenizer, processor = both
    assert len(tokenizer) == processor.vocab_size() == 380
    for text in SAMPLES:
        assert ids_of(tokenizer, text) == processor.encode(text), text


def test_train_tokenizer_reads_the_same_after_saving(both: tuple[Any, Any], tmp_path: Path) -> None:
    tokenizer, processor = both
    tiny.language_model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert [ids_of(again, text) for text in SAMPLES] == [processor.encode(text) for text in SAMPLES]
    assert (again.unk_token_id, again.bos_token_id, again.eos_token_id, again.pad_token_id) == (0, 1, 2, 3)
    assert again.padding_side == "right"


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_train_tokenizer_decodes_any_text(text: str) -> None:
    tokenizer = tiny.shared_tokenizer()
    # U+2581 is how sentencepiece writes a space, NUL ends its texts.
    text = text.replace("\u2581", "").replace("\0", "")
    ids = ids_of(tokenizer, text)
    assert 0 not in ids  # no unknown piece: unseen characters are bytes
    assert tokenizer.decode(ids) == text


def test_train_tokenizer_decodes_texts_of_the_demo() -> None:
    tokenizer = tiny.shared_tokenizer()
    for text in tiny.TEXTS:
        assert tokenizer.decode(ids_of(tokenizer, text)) == text


def test_train_tokenizer_splits_digits() -> None:
    tokenizer = tiny.shared_tokenizer()
    chunks = tokenizer.convert_ids_to_tokens(ids_of(tokenizer, "10 plus 234"))
    assert [piece for piece in chunks if any(c.isdigit() for c in piece)] == ["1", "0", "2", "3", "4"]
    assert not any(
        c.isdigit() for piece in tokenizer.get_vocab() if len(piece) > 1 for c in piece if piece[:3] != "<0x"
    )


@pytest.mark.parametrize("mark", TURNS)
def test_train_tokenizer_keeps_a_turn_mark_one_piece(mark: str) -> None:
    tokenizer = tiny.shared_tokenizer()
    [number] = ids_of(tokenizer, mark)
    assert ids_of(tokenizer, f"a{mark}b{mark} c").count(number) == 2
    assert tokenizer.convert_ids_to_tokens([number]) == [mark]


def test_train_tokenizer_is_deterministic() -> None:
    first, again = (train_tokenizer(iter(tiny.TEXTS), vocab_size=380) for _ in range(2))
    assert first.get_vocab() == again.get_vocab()
    other = train_tokenizer(tiny.TEXTS[:20], vocab_size=380)
    assert other.get_vocab() != first.get_vocab()


def test_train_tokenizer_has_fewer_pieces_for_few_texts() -> None:
    assert len(train_tokenizer(["\n\nHuman: hi\n\nAssistant: ho"] * 3, vocab_size=5000)) < 400


def test_train_tokenizer_refuses_too_few_pieces() -> None:
    texts = ["".join(chr(0x4E00 + i) for i in range(200))]
    with pytest.raises(UserError, match=r"params\.yaml: backbone\.vocab_size: found 300 "):
        train_tokenizer(texts, vocab_size=300)


@pytest.mark.parametrize("texts", [[], [""], ["\n"]])
def test_train_tokenizer_refuses_texts_without_words(texts: list[str]) -> None:
    with pytest.raises(UserError, match=r"texts with words"):
        train_tokenizer(texts, vocab_size=380)
