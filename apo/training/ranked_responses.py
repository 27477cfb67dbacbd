"""A query with ranked responses, which reward models and alignment learn from."""

from dataclasses import dataclass

from apo.model.encoding import ResponseSet


@dataclass(frozen=True)
class RankedResponses:
    """A tokenized query with its responses and their labels; a higher label is better.

    The labels of a comparison are human preferences, those of scored samples are rewards.
    """

    item: ResponseSet
    labels: list[float]
    is_adversarial: bool = False  # golden > samples

    @property
    def pairs(self) -> int:
        """Ordered pairs of responses with different labels."""
        return sum(a > b for a in self.labels for b in self.labels)

    @property
    def ranks(self) -> list[float]:
        """The labels as ranks from 0, equal ones with the same rank: the same order in any precision."""
        order = {label: float(rank) for rank, label in enumerate(sorted(set(self.labels)))}
        return [order[label] for label in self.labels]

    def only(self, *indices: int) -> "RankedResponses":
        """The same query with only the given responses."""
        labels = [self.labels[index] for index in indices]
        return RankedResponses(self.item.only(indices), labels, self.is_adversarial)
