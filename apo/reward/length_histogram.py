"""How many tokens queries and responses have, as a histogram."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from apo.core.records import Row

# Upper edges of the bins, in tokens: every power of two and the number halfway to the next one.
ENDS = [0, 1, 2, 3, *(half << power for power in range(1, 24) for half in (2, 3))]


class LengthHistogram:
    """Counts of lengths in tokens, without truncation.

    Args:
        overhead: Tokens of a sequence that belong neither to query nor to response, such as bos and eos.
    """

    def __init__(self, *, overhead: int) -> None:
        self._overhead = overhead
        self.queries: Counter[int] = Counter()
        self.responses: Counter[int] = Counter()
        self.sequences: Counter[int] = Counter()

    def add(self, query_length: int, response_lengths: Sequence[int]) -> None:
        """Adds an item: the tokens of its query and of each response; a sequence has both and `overhead`."""
        self.queries[query_length] += 1
        self.responses.update(response_lengths)
        self.sequences.update(
            query_length + response_length + self._overhead for response_length in response_lengths
        )

    def histogram(self) -> list[Row]:
        """Rows `{from, to, queries, responses, sequences}`, both edges included, up to the longest sequence.

        Compare `sequences` with `model.max_length`.

        >>> lengths = LengthHistogram(overhead=1)
        >>> lengths.add(3, [5, 6])
        >>> lengths.histogram()[-1]
        {'from': 9, 'to': 12, 'queries': 0, 'responses': 0, 'sequences': 2}
        """
        longest = max(self.sequences, default=0)
        ends = ENDS[: bisect_left(ENDS, longest) + 1]
        rows: list[Row] = [
            {"from": previous_end + 1, "to": end, "queries": 0, "responses": 0, "sequences": 0}
            for previous_end, end in pairwise([-1, *ends])
        ]
        for name in ("queries", "responses", "sequences"):
            for length, count in getattr(self, name).items():
                rows[bisect_left(ends, length)][name] += count
        return rows
