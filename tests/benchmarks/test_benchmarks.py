"""The implementations of a benchmark compute the same, each at the cost that it claims."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from apo.core.errors import UserError
from apo.model.encoding import ResponseSet
from benchmarks import alignment, authors, flops, jobs, ours, packed, plain, sampling
from benchmarks.data import made_up_texts, prepare, read_items, with_others
from benchmarks.measure import Plan, Process, check, measure
from benchmarks.profile import shares

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TRAINING = ["train_pairs", "train_apo"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the processes of the benchmark read, with a tiny model."""
    folder = tmp_path_factory.mktemp("bench")
    texts = made_up_texts(60, seed=1)
    facts = prepare(folder, texts, rows=24, queries=12, sizes=SIZES, seed=1)
    assert facts["encoded_queries"] == 24 + 12 + 24
    return folder


# They compute the same -----------------------------------------------------------------------------


@pytest.mark.parametrize("job", TRAINING)
@pytest.mark.parametrize(
    "train",
    [
        lambda *arguments: authors.train(*arguments, micro_batch=4),
        lambda *arguments: authors.train(*arguments, micro_batch=1),
        plain.train,
        packed.train,
    ],
    ids=["authors", "authors_mb1", "plain", "packed"],
)
def test_implementations_compute_the_same_loss(
    folder: Path, job: str, train: Callable[..., Callable[[], float]]
) -> None:
    assert train(folder, job, 0)() == pytest.approx(ours.train(folder, job, 0)(), abs=1e-6)


@pytest.mark.filterwarnings("ignore")  # of a library that the pipeline does not use
@pytest.mark.parametrize("job", TRAINING)
def test_trl_computes_the_same_loss(folder: Path, job: str) -> None:
    from benchmarks import trl_trainer

    loss = trl_trainer.train(folder, job, 0)()
    assert loss == pytest.approx(ours.train(folder, job, 0)(), abs=1e-6)


def test_loss_is_computed_from_the_rewards(folder: Path) -> None:
    rewards = torch.tensor(plain.rewards_of(jobs.load_reward_model(folder).classifier, pairs(folder)))
    chosen, rejected = rewards.view(-1, 2).unbind(1)
    loss = -torch.log(torch.sigmoid(chosen - rejected)).mean()
    assert ours.train(folder, "train_pairs", 0)() == pytest.approx(loss.item(), abs=1e-6)


def test_implementations_compute_the_same_rewards(folder: Path) -> None:
    expected = ours.score(folder, "score", 0)()
    assert len(expected) == 4 * jobs.CHECKED
    assert authors.score(folder, "score", 0)() == pytest.approx(expected, abs=1e-5)
    assert plain.score(folder, "score", 0)() == pytest.approx(expected, abs=1e-5)


def test_alignment_on_trees_and_separate_sequences_has_the_same_loss(folder: Path) -> None:
    todo = alignment.ways(folder, read_items(folder / "score.jsonl")[: alignment.QUERIES])
    assert todo["tree"]() == pytest.approx(todo["separate"](), abs=1e-5)
    assert todo["plain pass"]() > 3.0  # nats a token of a model with random weights


def test_implementations_have_the_same_items_in_every_step(folder: Path) -> None:
    training = jobs.Training(read_items(folder / "train_pairs.jsonl") * 6, is_apo=False)
    steps = training.steps()
    assert sorted(len(step) for step in steps) == [16, 64, 64]
    assert sorted(map(repr, training.items)) == sorted(repr(item) for step in steps for item in step)


def test_check_refuses_another_number() -> None:
    check("score", {"plain": [0.5, 1.0], "ours": [0.5, 1.0 + 5e-5]})
    with pytest.raises(UserError, match=r"differs by 0\.001"):
        check("score", {"plain": [0.5, 1.001], "ours": [0.5, 1.0]})
    with pytest.raises(UserError, match="differs by nan"):
        check("train_pairs", {"plain": float("nan"), "ours": 0.5})


# At the cost that they claim -----------------------------------------------------------------------


def pairs(folder: Path) -> list[ResponseSet]:
    return jobs.load_items(folder, "train_pairs", 0)


def shapes_of_projections(model: authors.AuthorsRewardModel) -> list[tuple[int, ...]]:
    """Texts and tokens of each vocabulary projection from now on."""
    shapes: list[tuple[int, ...]] = []
    model.language_model.lm_head.register_forward_hook(
        lambda module, inputs, output: shapes.append(tuple(inputs[0].shape[:2]))
    )
    return shapes


@pytest.mark.parametrize(("job", "comparisons"), [("train_pairs", 1), ("train_apo", 4)])
def test_authors_pad_to_max_length_and_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch, job: str, comparisons: int
) -> None:
    model = authors.load(folder)
    monkeypatch.setattr(authors, "load", lambda _: model)
    shapes = shapes_of_projections(model)
    authors.train(folder, job, 8, micro_batch=4)()
    assert shapes == [(8, 512)] * (8 * comparisons // 4)
    shapes.clear()
    authors.train(folder, job, 8, micro_batch=1)()
    items = jobs.load_items(folder, job, 8)
    longer = [max(map(len, two)) for item in items for two in jobs.pair(item)]
    assert sorted(shapes) == sorted((2, min(length + 1, 512)) for length in longer)  # with the end token
    shapes.clear()
    authors.score(folder, "score", 8)()
    assert shapes == [(16, 512)] * 2


def test_authors_repeat_golden_for_each_sample() -> None:
    item = ResponseSet([1], [[5], [6], [7]])
    assert jobs.pair(item) == [([1, 5], [1, 6]), ([1, 5], [1, 7])]


def test_plain_loop_pads_to_the_longest_of_like_length(folder: Path) -> None:
    classifier = jobs.load_reward_model(folder).classifier
    tokens = [0, 0]

    def count(module: Any, arguments: Any, options: dict[str, Any]) -> None:
        tokens[0] += options["attention_mask"].sum().item()
        tokens[1] += options["attention_mask"].numel()

    classifier.register_forward_pre_hook(count, with_kwargs=True)
    items = read_items(folder / "score.jsonl") * 4
    plain.rewards_of(classifier, items)
    assert tokens[0] == sum(item.unpacked_tokens for item in items)
    assert tokens[1] < 1.1 * tokens[0]


@pytest.mark.parametrize(("job", "pairs"), [("train_pairs", 1), ("train_apo", 4)])
def test_packing_reads_a_query_once_for_each_pair(
    folder: Path, monkeypatch: pytest.MonkeyPatch, job: str, pairs: int
) -> None:
    model, tokens, real = jobs.load_reward_model(folder), [0, 0], []
    monkeypatch.setattr(packed, "load_reward_model", lambda _: model)

    def count(module: Any, arguments: Any, options: dict[str, Any]) -> None:
        tokens[0] += options["input_ids"].numel()
        tokens[1] += 1

    model.classifier.base_model.register_forward_pre_hook(count, with_kwargs=True)
    items = jobs.load_items(folder, job, 8)
    packed.train(folder, job, 8)()
    for item in items:
        golden = len(item.prefix) + len(item.responses[0])
        real += [golden + len(other) for other in item.responses[1:]]
    assert len(real) == 8 * pairs
    groups = list(plain.by_length(real, packed.TOGETHER))
    assert tokens == [sum(len(group) * real[group[0]] for group in groups), len(groups)]


# The limit -----------------------------------------------------------------------------------------


def test_flops_are_those_that_torch_counts(folder: Path) -> None:
    classifier = jobs.load_reward_model(folder).classifier
    classifier.config._attn_implementation = "eager"  # of sdpa on a CPU torch counts nothing
    config, ids = classifier.config, torch.randint(4, 300, (1, 37))

    def reward() -> torch.Tensor:
        hidden = classifier.base_model(ids, use_cache=False).last_hidden_state
        total: torch.Tensor = classifier.score(hidden[:, -1]).sum()
        return total

    with FlopCounterMode(display=False) as counter:
        reward()
    # Eager attention computes all pairs, also those that are masked.
    layer = flops.layer_flops(config, keys=37, queries=37, pairs=37 * 37)
    forward = config.num_hidden_layers * layer + 2 * config.hidden_size
    assert counter.get_total_flops() == forward
    with FlopCounterMode(display=False) as counter:
        reward().backward()
    assert counter.get_total_flops() == 3 * forward


def test_visible_pairs_of_last_tokens_are_query_and_response(folder: Path) -> None:
    config = jobs.load_reward_model(folder).classifier.config
    item = ResponseSet([1, 2, 3], [[4, 5], [6]])
    first = flops.layer_flops(config, keys=6, queries=6, pairs=19)
    assert flops.reward_flops(config, item, last_tokens=False) == 2 * first + 2 * 2 * 32
    last = flops.layer_flops(config, keys=6, queries=2, pairs=5 + 4)
    assert flops.reward_flops(config, item, last_tokens=True) == first + last + 2 * 2 * 32


def test_needed_flops_of_a_training_are_three_times_those_of_rewards(folder: Path) -> None:
    config = jobs.load_reward_model(folder).classifier.config
    for job, times in (("score", 1), ("train_apo", 3), ("train_pairs", 3)):
        items = read_items(folder / f"{job}.jsonl")[:5]
        rewards = sum(flops.reward_flops(config, item, last_tokens=True) for item in items)
        assert flops.needed(folder, job, 5, last_tokens=True) == times * rewards


# Data ----------------------------------------------------------------------------------------------


def test_made_up_responses_are_those_of_other_queries() -> None:
    texts = [(f"q{k}", [f"good{k}", f"bad{k}"]) for k in range(9)]
    for query, responses in with_others(texts, 5, seed=1):
        assert responses[:2] == [f"good{query[1]}", f"bad{query[1]}"]
        assert len(responses) == 5
        assert not any(response.endswith(query[1]) for response in responses[2:])


# Sampling ------------------------------------------------------------------------------------------


def test_actor_responses_end_after_64_tokens(folder: Path) -> None:
    actor = sampling.load_actor(folder)
    with torch.no_grad():
        logits = actor(torch.randint(4, 300, (4, 50))).logits / sampling.SETTINGS.temperature
    end = logits.softmax(-1)[..., actor.config.eos_token_id]
    assert 1 / end.mean().item() == pytest.approx(sampling.MEAN_TOKENS, rel=0.2)


def test_sampling_implementations_count_the_tokens_they_draw(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing ends, 4 responses of 256 tokens to each of 3 queries; where all ends at once, none."""
    load = sampling.load_actor

    def actor(bias: float) -> Callable[[Path], Any]:
        def loaded(folder: Path) -> Any:
            model = load(folder)
            model.lm_head.bias.data[model.config.eos_token_id] = bias
            return model

        return loaded

    for bias, tokens in ((-1e4, 3 * 4 * 256), (1e4, 0)):
        monkeypatch.setattr(sampling, "load_actor", actor(bias))
        assert sampling.ours(folder, "sample", 3)() == tokens
        assert sampling.plain(folder, "sample", 3)() == tokens


# Report --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_measure_runs_each_implementation_in_a_process(folder: Path) -> None:
    class Progress:
        moved = 0.0

        def update(self, by: float) -> None:
            self.moved += by

        def set_postfix_str(self, text: str, refresh: bool) -> None:
            pass

    plan, progress = Plan("score", "score", "5M", 4, 1, (2,), ("plain", "ours")), Progress()
    measurements, rates = measure(plan, folder, progress)
    assert progress.moved == pytest.approx(plan.cost)
    assert len(rates) == 1 and rates[0] > 1e9
    for way in measurements.values():
        assert [len(seconds) for seconds in way.seconds.values()] == [1, 1]
        assert way.peak_mb >= way.imported_mb > 50


@pytest.mark.slow
def test_process_reports_why_an_implementation_fails(folder: Path) -> None:
    with Process("score", "plain", folder / "missing") as process:
        process.started()
        with pytest.raises(UserError, match=r"score, plain: .*missing/backbone"):
            process.run(1)


def test_shares_of_a_profile_add_up_to_the_whole_time(folder: Path) -> None:
    fractions = shares(folder, "train_apo")
    assert sum(fractions.values()) == pytest.approx(1)
    assert all(0 < fractions[kind] < 1 for kind in ("matrix products", "attention", "elementwise", "rest"))
