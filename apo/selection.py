"""Rejection sampling (best of n): per query the response with the highest reward."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from apo.core.config import Section
from apo.core.dialogue import cut_runaway
from apo.core.errors import UserError
from apo.core.records import Row, is_finite_number, unseen_id


class Rjs(Section):
    candidates: Literal["samples", "samples_and_extra"]
    rewards: Literal["rm", "source"]


class RankAgreement:
    """Kendall's tau-b between the rewards of an RM and those of the source, over the same samples.

    It is computed per query and averaged over the queries in which neither gives all samples the same reward.
    """

    def __init__(self) -> None:
        self._taus: list[float] = []
        self._queries = 0

    def add(self, rewards: list[float], source_rewards: list[float]) -> None:
        """Adds the two rewards of each sample of a query."""
        from scipy.stats import kendalltau  # a second

        self._queries += 1
        if len(set(rewards)) > 1 and len(set(source_rewards)) > 1:
            self._taus.append(float(kendalltau(rewards, source_rewards).statistic))

    def metrics(self) -> dict[str, float]:
        """The mean, and the numbers of queries with and without one; {} if no sample has both rewards."""
        if not self._queries:
            return {}
        counts = {"queries": len(self._taus), "queries_without": self._queries - len(self._taus)}
        mean = {"kendall_tau": sum(self._taus) / len(self._taus)} if self._taus else {}
        return mean | {f"kendall_tau_{name}": count for name, count in counts.items()}


COUNTS = (
    "queries",  # rows of samples read
    "samples",  # candidates read
    "samples_cut",  # cut at a runaway turn
    "samples_blank",  # not candidates: only white space, after the cut
    "extra_ignored",  # extra answers that are not candidates
    "extra_selected",  # targets that are an extra answer
    "ties",  # targets that share the highest reward with a later candidate
    "queries_dropped",  # queries with blank candidates only
    "selected",  # rows written
)


def select(
    sample_rows: Iterable[Row],
    reward_rows: Iterable[Row],
    *,
    include_extra: bool,
    samples_source: str,
    rewards_source: str,
    counts: Counter[str],
    use_source_rewards: bool = False,
    agreement: RankAgreement | None = None,
) -> Iterator[Row]:
    """One row per query: the candidate with the highest reward that is not blank, and all rewards.

    A row is `{query_id, query, prompt, completion, target, target_index, samples, scores, margin}`. `prompt`
    is the query and `completion` is a space and the target: a prompt-completion data set for supervised
    fine-tuning. `scores` are the rewards. `margin` is the difference to the second highest reward, null if
    there is none. A tie goes to the lowest index. Samples, but no extra answers, are first cut at a runaway
    `Human:` turn, unless the row has `uncut`. `sample_ids` and `prompt_tokens` are kept.

    Args:
        sample_rows: `{query_id, query, samples: [..]}`, and `extra: {name: text}` for other answers.
        reward_rows: `{query_id, scores: [..]}` in the order of the samples, and `extra: {name: reward}`
            for all extra answers or, if they are not candidates, for none. The queries may be in any order;
            a row that comes before its samples stays in memory.
        include_extra: Whether extra answers are candidates. They then follow the samples in the row's
            `samples` and `scores`, sorted by name.
        counts: Filled while the rows are drawn; at the end it has every name in `COUNTS`.
        use_source_rewards: Whether to select by the `source_rewards` of the samples instead of the rewards.
        agreement: Receives both rewards of the samples that have `source_rewards`.

    Raises:
        UserError: Samples and rewards do not belong together, an id is repeated, a reward is not a finite
            number, or a sample is not a text.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    lookup = _RewardLookup(reward_rows, source=rewards_source)
    seen: set[str] = set()
    for number, row in enumerate(sample_rows, start=1):
        location = f"{samples_source}:{number}"
        unseen_id(row, seen, where=location)
        samples, rewards = _candidates(row, lookup, include_extra, location=location)
        if "source_rewards" in row or use_source_rewards:
            source_rewards = _source_rewards(row, samples, location=location)
            if agreement:
                agreement.add(rewards[: len(source_rewards)], source_rewards)
            rewards = source_rewards if use_source_rewards else rewards
        counts["queries"] += 1
        counts["samples"] += len(samples)
        counts["extra_ignored"] += 0 if include_extra else len(row.get("extra", {}))
        selection = _select_best(row, samples, rewards, counts)
        if selection:
            yield selection
    lookup.check_all_used(samples_source)


def _source_rewards(row: Row, candidates: list[str], *, location: str) -> list[float]:
    """The source's rewards of the samples of a row, one for each."""
    rewards: Any = row.get("source_rewards")
    is_valid = isinstance(rewards, list) and len(rewards) == len(row["samples"])
    if not is_valid or not all(map(is_finite_number, rewards)):
        raise UserError(
            location,
            found=f"source_rewards {rewards!r:.60} for {len(row['samples'])} samples",
            expected="one finite number for each sample",
            do="bring samples with their scores (data.files.samples, sample.llm.origin: source), or set "
            "rjs.rewards: rm",
        )
    if len(candidates) > len(rewards):
        raise UserError(
            "params.yaml: rjs.rewards",
            found="'source' with rjs.candidates: samples_and_extra",
            expected="candidates that all have a reward of the source",
            do="set rjs.candidates: samples",
        )
    return [float(reward) for reward in rewards]


def _select_best(row: Row, samples: list[str], rewards: list[float], counts: Counter[str]) -> Row | None:
    """The row of the query; None if all candidates are blank."""
    if not row.get("uncut"):
        num_samples = len(row["samples"])  # extra answers follow, which people may have written
        results = [cut_runaway(sample) for sample in samples[:num_samples]]
        samples = [text for text, _ in results] + samples[num_samples:]
        counts["samples_cut"] += sum(is_cut for _, is_cut in results)
    ranking = rank_by_reward(samples, rewards)
    counts["samples_blank"] += len(samples) - len(ranking)
    if not ranking:
        counts["queries_dropped"] += 1
        return None
    best = ranking[0]
    margin = rewards[best] - rewards[ranking[1]] if len(ranking) > 1 else None
    counts["ties"] += margin == 0
    counts["extra_selected"] += best >= len(row["samples"])
    counts["selected"] += 1
    ids = row.get("sample_ids")
    return {
        "query_id": str(row["query_id"]),
        "query": row["query"],
        "prompt": row["query"],
        "completion": f" {samples[best]}",
        "target": samples[best],
        "target_index": best,
        "samples": samples,
        **({"sample_ids": ids + [None] * (len(samples) - len(ids))} if ids else {}),
        **({"prompt_tokens": row["prompt_tokens"]} if "prompt_tokens" in row else {}),
        "scores": rewards,
        "margin": margin,
    }


def rank_by_reward(texts: list[str], rewards: list[float]) -> list[int]:
    """Indices of the texts that are not blank by descending reward; ties by ascending index.

    >>> rank_by_reward(["a", " ", "b", "c"], [0.5, 9.0, 0.7, 0.7])
    [2, 3, 0]
    """
    candidates = [index for index, text in enumerate(texts) if text.strip()]
    return sorted(candidates, key=lambda index: -rewards[index])  # a stable sort keeps the order of ties


class _RewardLookup:
    """Reward rows by query id, read on demand.

    Raises:
        UserError: An id is repeated.
    """

    def __init__(self, rows: Iterable[Row], *, source: str) -> None:
        self.source = source
        self._rows = enumerate(rows, start=1)
        self._seen: set[str] = set()
        self._unused: dict[str, tuple[int, Row]] = {}

    def pop(self, query_id: str) -> tuple[int, Row] | None:
        """The line number and the row of a query; None if the file has no such row."""
        if query_id not in self._unused and query_id not in self._seen:
            for row_id, number, row in self._read():
                self._unused[row_id] = (number, row)
                if row_id == query_id:
                    break
        return self._unused.pop(query_id, None)

    def check_all_used(self, samples_source: str) -> None:
        """Raises a UserError if a row was never popped."""
        unused = {query_id: number for query_id, (number, _) in self._unused.items()}
        unused |= {query_id: number for query_id, number, _ in self._read()}
        if unused:
            query_id, number = next(iter(unused.items()))
            raise UserError(
                f"{self.source}:{number}",
                found=f"rewards of {len(unused)} queries such as {query_id!r} that {samples_source} lacks",
                expected="rewards for the queries of the samples only",
                do="score these samples again",
            )

    def _read(self) -> Iterator[tuple[str, int, Row]]:
        for number, row in self._rows:
            yield unseen_id(row, self._seen, where=f"{self.source}:{number}"), number, row


def _candidates(
    row: Row, lookup: _RewardLookup, include_extra: bool, *, location: str
) -> tuple[list[str], list[float]]:
    """The candidates of a query and their rewards."""
    query_id = str(row["query_id"])
    numbered_row = lookup.pop(query_id)
    if not numbered_row:
        raise UserError(
            location,
            found=f"query {query_id!r} without rewards in {lookup.source}",
            expected="rewards for every query",
            do="score these samples again",
        )
    number, reward_row = numbered_row
    reward_location = f"{lookup.source}:{number}"
    samples = _checked_values(row, "samples", str, include_extra, location=location)
    rewards = _checked_values(reward_row, "scores", float, include_extra, location=reward_location)
    extra, rated_extra = row.get("extra", {}).keys(), reward_row.get("extra", {}).keys()
    extra_is_unrated = not (rated_extra or include_extra)  # score.extra_answers: false
    if len(samples) != len(rewards) or (extra != rated_extra and not extra_is_unrated):
        raise UserError(
            reward_location,
            found=f"{_describe_size(reward_row, 'scores')} of query {query_id!r}",
            expected=f"{_describe_size(row, 'samples')}, as in {location}",
            do="score these samples again; rjs.candidates: samples_and_extra needs score.extra_answers: true",
        )
    return samples, rewards


def _checked_values(
    row: Row, key: str, kind: type[str] | type[float], include_extra: bool, *, location: str
) -> list[Any]:
    """The list under `key`, followed by the extra values on request; all values are of the kind."""
    values = row.get(key)
    if not isinstance(values, list) or not isinstance(row.get("extra", {}), dict):
        raise UserError(
            location,
            found=f"{key!r} {values!r:.80}, 'extra' {row.get('extra')!r:.80}",
            expected="a list, and an object by name",
            do="write the row again",
        )
    extra = [value for _, value in sorted(row.get("extra", {}).items())]
    for value in values + extra:
        if not (isinstance(value, str) if kind is str else is_finite_number(value)):
            raise UserError(
                location,
                found=f"{value!r:.80} among the {key} of query {row['query_id']!r}",
                expected="texts" if kind is str else "finite numbers",
                do="write a missing answer as an empty text" if kind is str else "check the reward model",
            )
    return [kind(value) for value in (values + extra if include_extra else values)]


def _describe_size(row: Row, key: str) -> str:
    return f"{len(row[key])} {key} and extra answers {sorted(row.get('extra', {}))}"
