"""Transcripts: a query with its golden answer and its responses, their rewards, and the chosen one.

A row is `{query_id, round, split, kind, query, answers: [{by, text}], rewards: {rater: [..]}, chosen: {rater:
index}, measures: {name: number}, outdated: [rater]}`. The rewards are in the order of the answers, null if
there is none. `outdated` names the RMs whose rewards and choice are left out: they are of other samples.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from apo.core.dialogue import cut_runaway
from apo.core.records import Row
from apo.core.subset import subsample

ARMS = {"base": "base RM", "apo": "APO RM"}
# The measures by which the page sorts transcripts, with their labels.
MEASURES = {
    "disagreement": "disagreement of the two RMs",
    "chosen_apo": "APO RM's reward for its choice",
    "chosen_base": "base RM's reward for its choice",
    "score_apo": "testing RM's score of llm_apo",
    "score_gain": "testing RM's score, llm_apo minus llm_base",
    "true_gain": "true reward, APO minus base",
}
Truth = Callable[[str, str], float]  # of a query and a response
Tables = Mapping[str, Mapping[str, Row]]  # rows by query, of each arm


def disagreement(
    first: Sequence[float], second: Sequence[float], chosen_first: int, chosen_second: int
) -> float:
    """How much two reward models disagree about the responses to one query.

    It is the loss of the first, in its own rewards, by the choice of the second, plus the loss of the second
    by the choice of the first. It is 0 if both choose the same, and invariant to a constant added to the
    rewards of either.

    >>> disagreement([2.0, 0.5, 1.0], [0.0, 3.0, 1.0], 0, 1)  # 2.0 - 0.5 and 3.0 - 0.0
    4.5
    """
    return first[chosen_first] - first[chosen_second] + second[chosen_second] - second[chosen_first]


def scored_samples(
    round: str,
    samples: Tables,
    scores: Tables,
    selected: Tables,
    golden: Mapping[str, str],
    truth: Truth | None,
) -> Iterator[Row]:
    """The LLM queries of a round: the samples, the rewards of each arm's RM, and its choice.

    If both arms have the same samples, as in the first round, they are listed once with both rewards. In
    later rounds each RM rates the samples of its own arm only. Rewards and choices of other samples, as there
    may be while a run goes on, are left out.
    """
    for query_id, row in _first_rows(samples).items():
        arms = {arm: rows[query_id] for arm, rows in samples.items() if query_id in rows}
        shared = all(_texts(arm_row) == _texts(row) for arm_row in arms.values())
        answers: list[Row] = []
        rewards: dict[str, list[Any]] = {}
        chosen: dict[str, int] = {}
        outdated: list[str] = []
        for number, (arm, arm_row) in enumerate(arms.items()):
            start = 0 if shared else len(answers)
            texts = _texts(arm_row)
            if not shared or number == 0:
                prefix = "" if shared else f"{arm} arm, "
                answers += [{"by": prefix + name, "text": text} for name, text in texts.items()]
            reward_row = scores.get(arm, {}).get(query_id)
            choice = selected.get(arm, {}).get(query_id)
            if (reward_row or choice) and not _belong(arm_row, reward_row, choice, bool(selected.get(arm))):
                outdated.append(ARMS[arm])
                continue
            if reward_row:
                extra_rewards = [
                    reward_row.get("extra", {}).get(name) for name in list(texts)[len(arm_row["samples"]) :]
                ]
                rewards[ARMS[arm]] = [None] * start + reward_row["scores"] + extra_rewards
            if choice:
                chosen[ARMS[arm]] = start + choice["target_index"]
        measures = {
            f"chosen_{arm}": rewards[rm][chosen[rm]]
            for arm, rm in ARMS.items()
            if rm in chosen and rm in rewards
        }
        if shared and len(measures) == 2:
            base, apo = ARMS.values()
            measures["disagreement"] = disagreement(rewards[base], rewards[apo], chosen[base], chosen[apo])
        transcript = _transcript(row, round, "llm", answers, rewards, chosen, measures, golden, truth)
        yield transcript | {"outdated": outdated}


def unscored_samples(
    round: str, samples: Mapping[str, Row], golden: Mapping[str, str], truth: Truth | None
) -> Iterator[Row]:
    """The RM queries of a round, whose samples the APO RM learned to rate below golden answers."""
    for row in samples.values():
        answers = [{"by": name, "text": text} for name, text in _texts(row).items()]
        yield _transcript(row, round, "rm", answers, {}, {}, {}, golden, truth)


def judged_answers(round: str, llms: Tables, golden: Mapping[str, str]) -> Iterator[Row]:
    """The test queries of a round: the answer of each LLM and its score by the testing RM.

    Args:
        llms: Answers by the name of the LLM, `golden` among them if the golden answers are judged too.
    """
    for query_id, row in _first_rows(llms).items():
        answers: list[Row] = []
        rewards: dict[str, list[Any]] = {}
        for name, rows in llms.items():
            llm_row = rows.get(query_id, {"samples": []})
            texts = llm_row["samples"]
            names = [name] if len(texts) == 1 else [f"{name}, {i + 1}" for i in range(len(texts))]
            answers += [{"by": by, "text": text} for by, text in zip(names, texts, strict=True)]
            for key, rater in (("scores", "testing RM"), ("true_rewards", "true reward")):
                if any(key in llm_rows.get(query_id, {}) for llm_rows in llms.values()):
                    rewards.setdefault(rater, []).extend(llm_row.get(key, [None] * len(texts)))
        means = {
            (arm, rater): sum(values) / len(values)
            for arm in ARMS
            for rater, key in (("score", "scores"), ("true", "true_rewards"))
            if (values := llms.get(f"llm_{arm}_{round}", {}).get(query_id, {}).get(key))
        }
        measures = {
            f"{rater}_gain": means["apo", rater] - means["base", rater]
            for rater in ("score", "true")
            if ("apo", rater) in means and ("base", rater) in means
        }
        if ("apo", "score") in means:
            measures["score_apo"] = means["apo", "score"]
        golden_answers = {} if "golden" in llms else golden
        yield _transcript(row, round, "test", answers, rewards, {}, measures, golden_answers, None)


def limit_transcripts(rows: Iterable[Row], limit: int, *, seed: int) -> list[Row]:
    """At most `limit` transcripts of each round and split, 0 for all: a seeded subset in the given order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["round"], row["split"]), []).append(row)
    return [row for group in groups.values() for row in subsample(group, max_queries=limit, seed=seed)]


def count_choices(rows: Sequence[Row]) -> tuple[int, int]:
    """The number of queries for which both RMs chose the same sample, and for which they did not.

    Transcripts whose samples only one RM rated do not count.
    """
    rated = [row for row in rows if "disagreement" in row["measures"]]
    equal = sum(len(set(row["chosen"].values())) == 1 for row in rated)
    return equal, len(rated) - equal


def _transcript(
    row: Row,
    round: str,
    split: str,
    answers: list[Row],
    rewards: dict[str, Any],
    chosen: dict[str, int],
    measures: dict[str, Any],
    golden: Mapping[str, str],
    truth: Truth | None,
) -> Row:
    """The transcript with its golden answer as the last answer, and with the true rewards if known."""
    if row["query_id"] in golden:
        answers = [*answers, {"by": "golden", "text": golden[row["query_id"]]}]
    if truth:
        true_rewards = [truth(row["query"], answer["text"]) for answer in answers]
        rewards = rewards | {"true reward": true_rewards}
        if len(chosen) == len(ARMS):
            base_reward, apo_reward = (true_rewards[chosen[rm]] for rm in ARMS.values())
            measures = measures | {"true_gain": apo_reward - base_reward}
    padded = {rater: [*values, *[None] * (len(answers) - len(values))] for rater, values in rewards.items()}
    return {
        "query_id": row["query_id"],
        "round": round,
        "split": split,
        "kind": row.get("type", ""),
        "query": row["query"],
        "answers": answers,
        "rewards": padded,
        "chosen": chosen,
        "measures": measures,
        "outdated": [],
    }


def _belong(row: Row, reward_row: Row | None, choice: Row | None, has_choices: bool) -> bool:
    """Whether rewards and choice are of the samples of the row, as far as can be told.

    A choice has the texts that it was made from: the samples without invented turns, and perhaps the other
    answers. Among the choices of an arm only a query with blank samples has none.
    """
    samples = row["samples"] if row.get("uncut") else [cut_runaway(text)[0] for text in row["samples"]]
    if reward_row and len(reward_row["scores"]) != len(samples):
        return False
    if not choice:
        return not has_choices or not any(map(str.strip, samples))
    extra = [text for _, text in sorted(row.get("extra", {}).items())]
    return choice.get("samples", samples) in (samples, samples + extra)


def _texts(row: Row) -> dict[str, str]:
    """The samples of a row by name, then the other answers, in the order of rejection sampling."""
    samples = {f"sample {number}": text for number, text in enumerate(row["samples"], start=1)}
    return samples | dict(sorted(row.get("extra", {}).items()))


def _first_rows(tables: Tables) -> dict[str, Row]:
    """The first row of every query in any table, in the order of their first occurrence."""
    first_rows: dict[str, Row] = {}
    for table in tables.values():
        for query_id, row in table.items():
            first_rows.setdefault(query_id, row)
    return first_rows
