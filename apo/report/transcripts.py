"""Transcripts: a query with its golden answer and its responses, what each was worth, and which was chosen.

A row is `{query_id, round, split, kind, query, answers: [{by, text}], rewards: {who: [..]}, chosen: {who:
index}, measures: {name: number}}`, the rewards in the order of the answers, null where nobody gave one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from apo.core.records import Row

ARMS = {"base": "base RM", "apo": "APO RM"}
# What transcripts can be put in order by: a word for the page to each name.
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

    It is what the first loses, in its own rewards, by the choice of the second, plus what the second loses
    by the choice of the first. It is 0 where both choose the same, and no constant added to one of them
    changes it.

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
    """The LLM queries of a round: the samples, the rewards of the RM of each arm, and what it chose.

    Where both arms have the same samples, which they have in the first round, they stand there once with
    both rewards. Later each RM has rated those of its own arm alone.
    """
    for query_id, row in _union(samples).items():
        arms = {arm: own[query_id] for arm, own in samples.items() if query_id in own}
        shared = all(_texts(one) == _texts(row) for one in arms.values())
        answers: list[Row] = []
        rewards: dict[str, list[Any]] = {}
        chosen: dict[str, int] = {}
        for number, (arm, one) in enumerate(arms.items()):
            start = 0 if shared else len(answers)
            texts = _texts(one)
            if not shared or number == 0:
                before = "" if shared else f"{arm} arm, "
                answers += [{"by": before + name, "text": text} for name, text in texts.items()]
            score = scores.get(arm, {}).get(query_id)
            if score:
                others = [score.get("extra", {}).get(name) for name in list(texts)[len(one["samples"]) :]]
                rewards[ARMS[arm]] = [None] * start + score["scores"] + others
            choice = selected.get(arm, {}).get(query_id)
            if choice:
                chosen[ARMS[arm]] = start + choice["target_index"]
        measures = {
            f"chosen_{arm}": rewards[rm][chosen[rm]]
            for arm, rm in ARMS.items()
            if rm in chosen and rm in rewards
        }
        if shared and len(measures) == 2:
            base, apo = ARMS.values()
            found = disagreement(rewards[base], rewards[apo], chosen[base], chosen[apo])
            measures["disagreement"] = found
        yield _finished(row, round, "llm", answers, rewards, chosen, measures, golden, truth)


def unscored_samples(
    round: str, samples: Mapping[str, Row], golden: Mapping[str, str], truth: Truth | None
) -> Iterator[Row]:
    """The RM queries of a round, whose samples the APO RM learned to tell from golden answers."""
    for row in samples.values():
        answers = [{"by": name, "text": text} for name, text in _texts(row).items()]
        yield _finished(row, round, "rm", answers, {}, {}, {}, golden, truth)


def judged_answers(round: str, llms: Tables, golden: Mapping[str, str]) -> Iterator[Row]:
    """The test queries of a round: the answer of each LLM and its score by the testing RM.

    Args:
        llms: Answers by the name of the LLM, `golden` among them where the golden answers are judged too.
    """
    for query_id, row in _union(llms).items():
        answers: list[Row] = []
        rewards: dict[str, list[Any]] = {}
        for name, own in llms.items():
            one = own.get(query_id, {"samples": []})
            texts = one["samples"]
            names = [name] if len(texts) == 1 else [f"{name}, {i + 1}" for i in range(len(texts))]
            answers += [{"by": by, "text": text} for by, text in zip(names, texts, strict=True)]
            for key, who in (("scores", "testing RM"), ("true_rewards", "true reward")):
                if any(key in other.get(query_id, {}) for other in llms.values()):
                    rewards.setdefault(who, []).extend(one.get(key, [None] * len(texts)))
        means = {
            (arm, who): sum(given) / len(given)
            for arm in ARMS
            for who, key in (("score", "scores"), ("true", "true_rewards"))
            if (given := llms.get(f"llm_{arm}_{round}", {}).get(query_id, {}).get(key))
        }
        measures = {
            f"{who}_gain": means["apo", who] - means["base", who]
            for who in ("score", "true")
            if ("apo", who) in means and ("base", who) in means
        }
        if ("apo", "score") in means:
            measures["score_apo"] = means["apo", "score"]
        known = {} if "golden" in llms else golden
        yield _finished(row, round, "test", answers, rewards, {}, measures, known, None)


def _finished(
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
    """The transcript with its golden answer as the last one, and with true rewards where they are known."""
    if row["query_id"] in golden:
        answers = [*answers, {"by": "golden", "text": golden[row["query_id"]]}]
    if truth:
        known = [truth(row["query"], answer["text"]) for answer in answers]
        rewards = rewards | {"true reward": known}
        if len(chosen) == len(ARMS):
            of_base, of_apo = (known[chosen[rm]] for rm in ARMS.values())
            measures = measures | {"true_gain": of_apo - of_base}
    padded = {who: [*given, *[None] * (len(answers) - len(given))] for who, given in rewards.items()}
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
    }


def _texts(row: Row) -> dict[str, str]:
    """The samples of a row, each under a name, then the other answers, in the order of rejection sampling."""
    samples = {f"sample {number}": text for number, text in enumerate(row["samples"], start=1)}
    return samples | dict(sorted(row.get("extra", {}).items()))


def _union(tables: Tables) -> dict[str, Row]:
    """The first row of every query that any of them has, in the order of the first."""
    found: dict[str, Row] = {}
    for table in tables.values():
        for query_id, row in table.items():
            found.setdefault(query_id, row)
    return found
