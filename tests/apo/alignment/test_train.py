"""train.py: the loss of a step by hand, in any micro-batches; what is learned; killed or not."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from apo.alignment import train
from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.rankings import Ranking
from apo.alignment.settings import Align
from apo.alignment.train import align, learned_from
from apo.model.encoding import ResponseSet
from apo.training.checkpointing import Checkpoints
from tests.helpers import tiny_models as tiny

METHODS = ("rjs", "rrhf", "dpo")
each = pytest.mark.parametrize("method", METHODS)
Run = Callable[..., list[dict[str, float]]]


def settings(method: str, **changes: Any) -> Align:
    own = {
        "method": method,
        "beta": 0.2,
        "rank_weight": 2.0,
        "sft_weight": 0.5,
        "max_length": 64,
        "lora": tiny.NO_LORA,
    }
    made: Align = tiny.optimizer(Align, **(own | changes))
    return made


def policy(seed: int = 1) -> ResponseLikelihood:
    return ResponseLikelihood(tiny.language_model(seed), pad_id=3, max_length=64)


def rankings(seed: int = 2, counts: tuple[int, ...] = (4, 2, 3, 2, 4, 3, 2, 4)) -> list[Ranking]:
    """Random ids; scores fall, with a tie in the middle where there is one."""
    return [
        Ranking(item, [2.0, *[1.0] * (len(item.responses) - 2), -1.0])
        for item in tiny.random_items(seed, list(counts))
    ]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Aligns in place; each call is another training unless it has a key."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    numbers = iter(range(1000))

    def do(
        model: ResponseLikelihood,
        data: list[Ranking],
        chosen: Align,
        *,
        budget: int = 16384,
        key: str | None = None,
    ) -> list[dict[str, float]]:
        monkeypatch.setenv("APO_TOKEN_BUDGET", str(budget))
        with Checkpoints("llm", key or f"key{next(numbers)}").exclusive() as checkpoints:
            return align(model, data, chosen, seed=1, desc="llm", checkpoints=checkpoints)

    return do


# The loss of a step


def logs_of(model: Any, item: ResponseSet) -> list[float]:
    """log p of each response, one text after the other through the model's own logits."""
    found = []
    for response in item.responses:
        ids = torch.tensor([item.prefix + response])
        with torch.no_grad():
            logs = model(input_ids=ids).logits[0].double().log_softmax(-1)
        found.append(sum(logs[i - 1, ids[0, i]].item() for i in range(len(item.prefix), ids.shape[1])))
    return found


def by_hand(method: str, model: Any, before: Any, data: list[Ranking]) -> float:
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
        for i, worse in enumerate(one.scores):
            for j, better in enumerate(one.scores):
                rank += max(0.0, p[i] - p[j]) if worse < better else 0.0
    return 2.0 * rank / len(data) + 0.5 * sft


@each
@pytest.mark.parametrize("budget", [1, 16384])
def test_the_loss_of_a_step_by_hand(run: Run, method: str, budget: int) -> None:
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
def test_micro_batches_train_the_same_model(run: Run, method: str) -> None:
    chosen = settings(method, lr=1e-3, epochs=3)
    together, parts = policy().double(), policy().double()
    curve = run(together, rankings(), chosen)
    again = run(parts, rankings(), chosen, budget=1)
    for row, other in zip(curve, again, strict=True):
        assert other == pytest.approx(row, rel=1e-5, abs=1e-6)
    for a, b in zip(together.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-7)


@each
def test_separate_sequences_train_the_same_model(run: Run, method: str) -> None:
    chosen = settings(method, lr=1e-3, epochs=3)
    tree, apart = policy().double(), policy().double()
    apart.supports_shared_prefix = False
    curve, again = run(tree, rankings(), chosen), run(apart, rankings(), chosen)
    assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in curve], rel=1e-5)
    for a, b in zip(tree.parameters(), apart.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-6)


def test_what_each_method_reads() -> None:
    [one] = rankings(counts=(4,))
    assert learned_from(one, "rjs").item.responses == one.item.responses[:1]
    assert learned_from(one, "dpo").item.responses == [one.item.responses[0], one.item.responses[3]]
    assert learned_from(one, "dpo").scores == [2.0, -1.0]
    assert learned_from(one, "rrhf") == one


def test_rrhf_without_ranking_is_rjs(run: Run) -> None:
    curve = run(policy(), rankings(), settings("rrhf", rank_weight=1e-30, sft_weight=1.0))
    assert curve[0]["loss"] == pytest.approx(run(policy(), rankings(), settings("rjs"))[0]["loss"], rel=1e-6)


# The numbers beside the loss


def test_the_numbers_of_dpo_by_hand(run: Run) -> None:
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


def test_the_numbers_of_rrhf_by_hand(run: Run) -> None:
    data, before = rankings(), tiny.language_model()
    [row] = run(policy(), data, settings("rrhf"))
    right = pairs = 0
    for one in data:
        values = logs_of(before, one.item)
        p = [value / len(ids) for value, ids in zip(values, one.item.responses, strict=True)]
        for i, better in enumerate(one.scores):
            for j, worse in enumerate(one.scores):
                pairs += better > worse
                right += better > worse and p[i] > p[j]
    assert 0 < right < pairs
    assert row["ordered_pairs"] == pytest.approx(right / pairs)
    assert row["loss"] == pytest.approx(2.0 * row["rank_loss"] + 0.5 * row["sft_loss"], rel=1e-6)


def test_rjs_has_the_curve_of_a_plain_fine_tuning(run: Run) -> None:
    assert run(policy(), rankings(), settings("rjs"))[0].keys() == {"step", "loss", "lr"}


# Learning


def preferred_over_others(model: ResponseLikelihood, data: list[Ranking]) -> Tensor:
    """Log-odds of the best response against each other one, per token, one row a query."""
    rows = []
    for one in data:
        with torch.no_grad():
            logs = model([one.item])[0] / torch.tensor([float(len(r)) for r in one.item.responses])
        rows.append(logs[0] - logs[1:])
    return torch.cat(rows)


@each
def test_the_preferred_response_gains_on_the_others(run: Run, method: str) -> None:
    """A word decides which response is the better one; a flipped sign makes the other one gain."""
    queries = [[1, *ids] for ids in ([10, 11], [12, 13, 14], [15], [16, 17])]
    better, worse, neutral = [100, 101, 2], [110, 111, 2], [120, 121, 2]
    data = [Ranking(ResponseSet(query, [better, neutral, worse]), [1.0, 0.0, -1.0]) for query in queries]
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
def test_a_training_that_was_killed_ends_in_the_same_bytes(
    run: Run, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_the_reference_is_computed_once_and_without_gradients(run: Run) -> None:
    model = policy()
    modes: list[tuple[bool, bool]] = []
    model.register_forward_pre_hook(lambda *_: modes.append((torch.is_grad_enabled(), model.training)))
    run(model, rankings(), settings("dpo", epochs=3))
    assert modes == [(False, False)] + [(True, True)] * 3


# Another library


@pytest.mark.filterwarnings("ignore")  # of a library that the pipeline does not use
def test_dpo_is_that_of_trl(run: Run, tmp_path: Path) -> None:
    """The same losses, accuracies and margins at every one of three steps."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    data = rankings()
    chosen = settings("dpo", epochs=3, lr=1e-3, max_grad_norm=1.0)
    trainer = DPOTrainer(
        model=tiny.language_model(),
        ref_model=tiny.language_model(),
        args=DPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=len(data),
            num_train_epochs=3,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            beta=0.2,
            max_length=64,
            adam_beta2=0.999,
            max_grad_norm=1.0,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=tiny.tokenizer(),
    )
    trainer.train_dataset = Dataset.from_list(  # in the place of a text: ids, as its collator takes them
        [
            {
                "prompt_ids": one.item.prefix,
                "chosen_ids": one.item.responses[0],
                "rejected_ids": one.item.responses[-1],
            }
            for one in data
        ]
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "loss" in row]
    curve = run(policy(), data, chosen)
    assert len(curve) == len(logged) == 3
    for own, row in zip(curve, logged, strict=True):
        assert own["loss"] == pytest.approx(row["loss"], abs=1e-5)
        assert own["reward_margin"] == pytest.approx(row["rewards/margins"], abs=1e-4)
    assert curve[-1]["reward_accuracy"] == pytest.approx(logged[-1]["rewards/accuracies"])
