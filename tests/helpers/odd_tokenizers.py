"""Tokenizers that read a special token's text as the token, whatever `split_special_tokens` says."""

from typing import Any

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_python import PythonBackend

NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]  # ids 0 to 3
LETTERS = sorted(set("\n :abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<>/.?"))
WORDS = [*SPECIAL, "Human:", "Assistant:", "a", "b", "c", "<", ">", "s>", "/s>", "pad>"]


def unigram(*, nfkc: bool = False) -> Any:
    """The special tokens stand among its pieces with the best score of all, as in T5's."""
    chunks = [(name, 0.0) for name in SPECIAL] + [(letter, -3.0) for letter in LETTERS]
    inner = Tokenizer(models.Unigram(chunks, unk_id=0))
    if nfkc:
        inner.normalizer = normalizers.NFKC()
    return PreTrainedTokenizerFast(tokenizer_object=inner, **NAMES)


def word_level() -> Any:
    """Words between white space; an unknown word is <unk>."""
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, **NAMES)


def metaspace(special: list[str], *, scheme: str, rstrip: bool = False) -> Any:
    """Single characters, with a mark for a space as in Llama's.

    Args:
        special: The special tokens; the last is the end token.
        scheme: Where a space is added: first, always or never.
        rstrip: Whether the special tokens take it, as Phi-3's do.
    """
    letters = {letter: index for index, letter in enumerate(["▁", *LETTERS, "@", "|", "_", "'"])}
    inner = Tokenizer(models.BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=special[-1])
    added = [AddedToken(text, special=True, normalized=False, rstrip=rstrip) for text in special]
    tokenizer.add_special_tokens({"additional_special_tokens": added})
    return tokenizer


class SlowWords(PythonBackend):  # type: ignore[misc]
    """The same in plain Python."""

    vocab_files_names: dict[str, str] = {}  # noqa: RUF012 - the library's name

    @property
    def vocab_size(self) -> int:
        return len(WORDS)

    def get_vocab(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(WORDS)}

    def _tokenize(self, text: str) -> list[str]:
        return text.split()

    def _convert_token_to_id(self, token: str) -> int:
        return self.get_vocab().get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return WORDS[index]


def slow_words() -> Any:
    return SlowWords(**NAMES)
