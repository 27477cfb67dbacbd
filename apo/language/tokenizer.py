"""The tokenizer of a backbone from scratch: trained by sentencepiece, opened by Hugging Face."""

import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import LlamaTokenizer

from apo.core.errors import UserError

TURNS = ["\n\nHuman:", "\n\nAssistant:"]  # one piece each: no text is cut inside a turn mark


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Any:
    """Byte-pair pieces with bytes for unseen characters; digits apart; ids 0 to 3 unk, bos, eos, pad.

    Args:
        texts: What the pieces are learned from, in a fixed order.
        vocab_size: Pieces, special ones included; fewer where the texts do not hold as many.

    Raises:
        UserError: The texts hold no words, or more characters than pieces.
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
            expected="more pieces than the texts have characters, and texts with words",
            do="raise it, or look at data/split/documents.jsonl",
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").write_bytes(model.getvalue())
        return LlamaTokenizer.from_pretrained(
            folder, add_prefix_space=False, legacy=False, pad_token="<pad>", padding_side="right"
        )
