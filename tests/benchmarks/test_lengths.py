"""benchmarks/lengths.py: made-up texts have the committed lengths."""

import json

from benchmarks.data import LENGTHS, made_up_texts
from benchmarks.lengths import triples


def test_made_up_texts_have_the_committed_lengths() -> None:
    table = json.loads(LENGTHS.read_text(encoding="utf-8"))["words"]
    assert len(table) == 256
    texts = made_up_texts(300, seed=3)
    assert texts == made_up_texts(300, seed=3)
    counted = [[len(text.split()) for text in (query, *responses)] for query, responses in texts]
    assert all([query - 2, *rest] in table for query, *rest in counted)  # beside its two turn marks


def test_triples_are_quantiles_of_lengths() -> None:
    texts = [("\n\nHuman: " + "a " * k + "\n\nAssistant:", ["b", "c c"]) for k in range(512)]
    assert triples(texts)[::64] == [[2 + k, 1, 2] for k in range(1, 512, 128)]
