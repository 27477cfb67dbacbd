"""apo/alignment/train.py: the loss of a step by hand, in any micro-batches; learning; a killed training."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from apo.alignment import train
from apo.alignment.likelihood import ResponseLikelihood
from apo.model.encoding import ResponseSet
from apo.training.ranked_responses import RankedResponses
from tests.helpers import tiny_models as tiny
from tests.helpers.alignment import policy, rankings, settings

METHODS = ("rjs", "rrhf", "dpo")
each = pytest.mark.parametrize("method", METHODS)
Run = Callable[..., list[dict[str, float]]]


# The loss of a step


def logs_of(model: Any, item: ResponseSet) -> list[float]:
    """log p of each response, one text after the other through the model's own logits."""
    sums = []
    for response in item.responses:
        ids = torch.tensor([item.prefix + response])
        with torch.no_grad():
            logs = model(input_ids=ids).logits[0].double().log_softmax(-1)
        sums.append(sum(logs[i - 1, ids[0, i]].item() for i in range(len(item.prefix), ids.shape[1])))
    return sums


def by_hand(method: str, model: Any, before: Any, data: list[RankedResponses]) -> float:
    """The loss of all data as one step, in plain Python."""
    best_tokens = sum(len(one.item.responses[0]) for one in data)
    logs = [logs_of(model, one.item) for one in data]
    sft = -sum(row[0] for row in logs) / best_tokens
    if method == "rjs":
        return sft
    if method == "dpo":
        costs = []
        for row, one in zip(logs, data, strict=True):
            old = logs_of(before, one.item)
            margin = 0.2 * ((row[0] - old[0]) - (row[-1] - old[-1]))
            costs.append(math.log1p(math.exp(-margin)))
        return sum(costs) / len(costs)
    rank = 0.0
    for row, one in zip(logs, data, strict=True):
        p = [value / len(ids) for value, ids in zip(row, one.item.responses, strict=True)]
        for i, worse in enumerate(one.labels):
            for j, better in enumerate(one.labels):
                rank += max(0.0, p[i] - p[j]) if worse < better else 0.0
    return 2.0 * rank / len(data) + 0.5 * sft


@each
@pytest.mark.parametrize("budget", [1, 16384])
def test_align_loss_of_a_step_by_hand(run: Run, method: str, budget: int) -> None:
    """Of the first step, and of the second one, where the reference is the model of before."""
    chosen, data, before = settings(method, epochs=2), rankings(), tiny.language_model()
    curve = run(policy(), data, chosen, budget=budget)
    assert [row["step"] for row in curve] == [1, 2]
    assert curve[0]["loss"] == pytest.approx(by_hand(method, before, before, data), abs=1e-5)
    if method == "dpo":
        assert curve[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    after = policy()
    run(after, data, settings(method))  # the first step alone
    assert curve[1]["loss"] == pytest.approx(by_hand(method, after.model, before, data), abs=1e-5)


@each
def test_align_trains_the_same_model_in_any_micro_batches(run: Run, method: str) -> None:
    chosen = settings(method, lr=1e-3, epochs=3)
    together, parts = policy().double(), policy().double()
    curve = run(together, rankings(), chosen)
    again = run(parts, rankings(), chosen, budget=1)
    for row, other in zip(curve, again, strict=True):
        assert other == pytest.approx(row, rel=1e-5, abs=1e-6)
    for a, b in zip(together.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-7)


@each
def test_align_trains_the_same_model_on_separate_sequences(run: Run, method: str) -> None:
    chosen = settings(method, lr=1e-3, epochs=3)
    tree, apart = policy().double(), policy().double()
    apart.supports_shared_prefix = False
    curve, again = run(tree, rankings(), chosen), run(apart, rankings(), chosen)
    assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in curve], rel=1e-5)
    for a, b in zip(tree.parameters(), apart.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-6)


def test_rrhf_without_ranking_is_rjs(run: Run) -> None:
    curve = run(policy(), rankings(), settings("rrhf", rank_weight=1e-30, sft_weight=1.0))
    assert curve[0]["loss"] == pytest.approx(run(policy(), rankings(), settings("rjs"))[0]["loss"], rel=1e-6)


# The numbers beside the loss


def test_dpo_metrics_by_hand(run: Run) -> None:
    data, before, after = rankings(), tiny.language_model(), policy()
    curve = run(policy(), data, settings("dpo", epochs=2, lr=1e-3))
    # Before the first step all rewards are equal up to rounding, which decides the accuracy.
    assert curve[0]["reward_margin"] == pytest.approx(0.0, abs=1e-5)
    run(after, data, settings("dpo", lr=1e-3))
    margins = []
    for one in data:
        new, old = logs_of(after.model, one.item), logs_of(before, one.item)
        margins.append(0.2 * ((new[0] - old[0]) - (new[-1] - old[-1])))
    assert curve[1]["reward_margin"] == pytest.approx(sum(margins) / len(margins), abs=1e-5)
    assert curve[1]["reward_accuracy"] == pytest.approx(sum(m > 0 for m in margins) / len(margins))


def test_rrhf_metrics_by_hand(run: Run) -> None:
    data, before = rankings(), tiny.language_model()
    [row] = run(policy(), data, settings("rrhf"))
    right = pairs = 0
    for one in data:
        values = logs_of(before, one.item)
        p = [value / len(ids) for value, ids in zip(values, one.item.responses, strict=True)]
        for i, better in enumerate(one.labels):
            for j, worse in enumerate(one.labels):
                pairs += better > worse
                right += better > worse and p[i] > p[j]
    assert 0 < right < pairs
    assert row["ordered_pairs"] == pytest.approx(right / pairs)
    assert row["loss"] == pytest.approx(2.0 * row["rank_loss"] + 0.5 * row["sft_loss"], rel=1e-6)


def test_rjs_has_the_curve_of_a_plain_fine_tuning(run: Run) -> None:
    assert run(policy(), rankings(), settings("rjs"))[0].keys() == {"step", "loss", "lr"}


# Learning


def preferred_over_others(model: ResponseLikelihood, data: list[RankedResponses]) -> Tensor:
    """Log-odds of the best response against each other one, per token, one row a query."""
    rows = []
    for one in data:
        with torch.no_grad():
            logs = model([one.item])[0] / torch.tensor([float(len(r)) for r in one.item.responses])
        rows.append(logs[0] - logs[1:])
    return torch.cat(rows)


@each
def test_align_makes_the_preferred_response_likelier(run: Run, method: str) -> None:
    """A word decides which response is the better one; a flipped sign makes the other one gain."""
    queries = [[1, *ids] for ids in ([10, 11], [12, 13, 14], [15], [16, 17])]
    better, worse, neutral = [100, 101, 2], [110, 111, 2], [120, 121, 2]
    data = [
        RankedResponses(ResponseSet(query, [better, neutral, worse]), [1.0, 0.0, -1.0]) for query in queries
    ]
    model = policy()
    start = preferred_over_others(model, data)
    curve = run(model, data, settings(method, epochs=12, lr=3e-3, batch_size=4))
    gain = preferred_over_others(model, data) - start
    assert (gain[1::2] > 0.2).all()  # against the worst, for every query
    if method != "dpo":  # which does not read the one in the middle
        assert (gain[::2] > 0.0).all()
    assert curve[-1]["loss"] < curve[0]["loss"]
    number = {"rrhf": "ordered_pairs", "dpo": "reward_accuracy"}.get(method)
    assert number is None or curve[-1][number] == 1.0


# Killed


@each
def test_align_killed_ends_in_the_same_bytes(run: Run, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(method, epochs=3, batch_size=3)
    monkeypatch.setenv("APO_CHECKPOINT_SECONDS", "0")
    whole = policy()
    curve = run(whole, rankings(), chosen, key="whole")
    assert len(curve) == 9

    calls: list[int] = []
    usual = train.METHODS[method]

    def killed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return usual(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train, "METHODS", {method: killed})
        with pytest.raises(KeyboardInterrupt):
            run(policy(), rankings(), chosen, key="killed")
    again = policy()
    assert run(again, rankings(), chosen, key="killed") == curve  # the curve is saved with every step
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    over = policy()
    assert run(over, rankings(), chosen, key="killed") == curve  # killed behind the last step
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), over.parameters(), strict=True))


def test_dpo_computes_the_reference_once_and_without_gradients(run: Run) -> None:
    model = policy()
    modes: list[tuple[bool, bool]] = []
    model.register_forward_pre_hook(lambda *_: modes.append((torch.is_grad_enabled(), model.training)))
    run(model, rankings(), settings("dpo", epochs=3))
    assert modes == [(False, False)] + [(True, True)] * 3
