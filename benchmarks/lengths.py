"""Writes `hh_lengths.json` from a file of comparisons: `python -m benchmarks.lengths FILE`.

The output has only numbers: 256 triples (words of the query, of the chosen and of the rejected response),
evenly spaced among all comparisons of the file, sorted by their total number of words.
"""

import json
import sys
from pathlib import Path

from benchmarks.data import LENGTHS, Text, read_texts

TRIPLES = 256


def triples(texts: list[Text]) -> list[list[int]]:
    """The middle triple of each of `TRIPLES` equal parts of the sorted triples."""
    words = [[len(text.split()) for text in (query, *responses)] for query, responses in texts]
    words.sort(key=lambda triple: (sum(triple), triple))
    return [words[int((k + 0.5) * len(words) / TRIPLES)] for k in range(TRIPLES)]


def main(path: Path) -> None:
    """Reads the file, writes the table."""
    texts = read_texts(path)
    facts = {
        "what": "words of query (turn marks included), chosen, rejected; 256 quantiles by their sum",
        "file": path.name,
        "comparisons": len(texts),
        "words": triples(texts),
    }
    LENGTHS.write_text(json.dumps(facts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
