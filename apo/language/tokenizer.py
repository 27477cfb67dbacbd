"""Trains the tokenizer of a new backbone: sentencepiece trains it, transformers loads it."""

import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import LlamaTokenizer

from apo.core.errors import UserError

TURNS = ["\n\nHuman:", "\n\nAssistant:"]  # one token each, so truncation never splits a turn marker


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Any:
    """Trains a BPE tokenizer with byte fallback and split digits; ids 0 to 3 are unk, bos, eos, pad.

    Args:
        texts: The training texts, in a fixed order.
        vocab_size: Maximum number of tokens, special tokens included. Small corpora give fewer.

    Raises:
        UserError: The texts contain no words, or more characters than tokens.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=0.9995,
            split_digits=True,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            user_defined_symbols=TURNS,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(
            "params.yaml: backbone.vocab_size",
            found=f"{vocab_size} ({str(error).strip()[-160:]})",
            expected="more tokens than the texts have characters, and texts with words",
            do="raise it, or check data/split/documents.jsonl",
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").write_bytes(model.getvalue())
        return LlamaTokenizer.from_pretrained(
            folder, add_prefix_space=False, legacy=False, pad_token="<pad>", padding_side="right"
        )
