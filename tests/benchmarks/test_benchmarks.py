"""The benchmark's ways compute the same, each at the cost that it claims."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig

from apo.core.errors import UserError
from apo.model.encoding import ResponseSet
from benchmarks import alignment, authors, flops, jobs, ours, packed, plain, sampling
from benchmarks.data import LENGTHS, made_up_texts, prepare, read_items, with_others
from benchmarks.lengths import triples
from benchmarks.measure import Measured, Plan, Process, check, measure
from benchmarks.profile import shares
from benchmarks.report import BEGIN, END, job_results, put_into, table
from benchmarks.ways import WAYS

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
def test_same_loss(folder: Path, job: str, train: Callable[..., Callable[[], float]]) -> None:
    assert train(folder, job, 0)() == pytest.approx(ours.train(folder, job, 0)(), abs=1e-6)


@pytest.mark.filterwarnings("ignore")  # of a library that the pipeline does not use
@pytest.mark.parametrize("job", TRAINING)
def test_same_loss_in_trl(folder: Path, job: str) -> None:
    from benchmarks import trl_trainer

    loss = trl_trainer.train(folder, job, 0)()
    assert loss == pytest.approx(ours.train(folder, job, 0)(), abs=1e-6)


def test_loss_is_that_of_the_rewards(folder: Path) -> None:
    rewards = torch.tensor(plain.rewards_of(jobs.load_reward_model(folder).classifier, pairs(folder)))
    chosen, rejected = rewards.view(-1, 2).unbind(1)
    loss = -torch.log(torch.sigmoid(chosen - rejected)).mean()
    assert ours.train(folder, "train_pairs", 0)() == pytest.approx(loss.item(), abs=1e-6)


def test_same_rewards(folder: Path) -> None:
    expected = ours.score(folder, "score", 0)()
    assert len(expected) == 4 * jobs.CHECKED
    assert authors.score(folder, "score", 0)() == pytest.approx(expected, abs=1e-5)
    assert plain.score(folder, "score", 0)() == pytest.approx(expected, abs=1e-5)


def test_aligning_on_trees_and_on_separate_sequences_costs_the_same_loss(folder: Path) -> None:
    todo = alignment.ways(folder, read_items(folder / "score.jsonl")[: alignment.QUERIES])
    assert todo["tree"]() == pytest.approx(todo["separate"](), abs=1e-5)
    assert todo["plain pass"]() > 3.0  # nats a token of a model with random weights


def test_same_items_in_every_step(folder: Path) -> None:
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


def test_golden_is_repeated_for_each_sample() -> None:
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


def test_a_packed_pair_by_hand() -> None:
    batch, last = packed.packed([([1, 2], [3, 4], [5]), ([1], [6], [7])], pad_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5], [1, 6, 7, 0, 0]]
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 3, 2]
    assert batch["position_ids"][1, :3].tolist() == [0, 1, 1]
    assert last.tolist() == [[3, 4], [1, 2]]
    assert batch["attention_mask"][0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


# The limit -----------------------------------------------------------------------------------------


def test_flops_are_those_that_torch_counts(folder: Path) -> None:
    classifier = jobs.load_reward_model(folder).classifier
    classifier.config._attn_implementation = "eager"  # of sdpa on a CPU torch counts nothing
    config, ids = classifier.config, torch.randint(4, 300, (1, 37))

    def reward() -> torch.Tensor:
        hidden = classifier.base_model(ids, use_cache=False).last_hidden_state
        found: torch.Tensor = classifier.score(hidden[:, -1]).sum()
        return found

    with FlopCounterMode(display=False) as counter:
        reward()
    # Eager attention computes all pairs, also those that are masked.
    layer = flops.layer_flops(config, keys=37, queries=37, pairs=37 * 37)
    forward = config.num_hidden_layers * layer + 2 * config.hidden_size
    assert counter.get_total_flops() == forward
    with FlopCounterMode(display=False) as counter:
        reward().backward()
    assert counter.get_total_flops() == 3 * forward


def test_layer_of_few_queries() -> None:
    """Keys and values of 5 tokens, all the rest of 2: with one key head of two, by hand."""
    config = LlamaConfig(hidden_size=8, intermediate_size=12, num_attention_heads=2, num_key_value_heads=1)
    linear = 2 * 5 * (8 * 4 + 8 * 4) + 2 * 2 * (8 * 8 + 8 * 8 + 3 * 8 * 12)
    assert flops.layer_flops(config, keys=5, queries=2, pairs=9) == linear + 2 * 2 * 9 * 8


def test_visible_pairs_of_a_tree() -> None:
    item = ResponseSet([1, 2, 3], [[4, 5], [6]])
    of_token = ["q", "q", "q", "a", "a", "b"]
    seen = sum(of_token[j] in ("q", of_token[i]) for i in range(6) for j in range(i + 1))
    assert flops.visible_pairs(item) == seen == 6 + (4 + 5) + 4


def test_last_tokens_see_the_query_and_their_response(folder: Path) -> None:
    config = jobs.load_reward_model(folder).classifier.config
    item = ResponseSet([1, 2, 3], [[4, 5], [6]])
    first = flops.layer_flops(config, keys=6, queries=6, pairs=19)
    assert flops.reward_flops(config, item, last_tokens=False) == 2 * first + 2 * 2 * 32
    last = flops.layer_flops(config, keys=6, queries=2, pairs=5 + 4)
    assert flops.reward_flops(config, item, last_tokens=True) == first + last + 2 * 2 * 32


def test_needed_of_a_training_is_three_times_that_of_rewards(folder: Path) -> None:
    config = jobs.load_reward_model(folder).classifier.config
    for job, times in (("score", 1), ("train_apo", 3), ("train_pairs", 3)):
        items = read_items(folder / f"{job}.jsonl")[:5]
        rewards = sum(flops.reward_flops(config, item, last_tokens=True) for item in items)
        assert flops.needed(folder, job, 5, last_tokens=True) == times * rewards


# Data ----------------------------------------------------------------------------------------------


def test_made_up_texts_have_the_committed_lengths() -> None:
    table = json.loads(LENGTHS.read_text(encoding="utf-8"))["words"]
    assert len(table) == 256
    texts = made_up_texts(300, seed=3)
    assert texts == made_up_texts(300, seed=3)
    counted = [[len(text.split()) for text in (query, *responses)] for query, responses in texts]
    assert all([query - 2, *rest] in table for query, *rest in counted)  # beside its two turn marks


def test_lengths_are_quantiles() -> None:
    texts = [("\n\nHuman: " + "a " * k + "\n\nAssistant:", ["b", "c c"]) for k in range(512)]
    assert triples(texts)[::64] == [[2 + k, 1, 2] for k in range(1, 512, 128)]


def test_other_responses_are_those_of_other_queries() -> None:
    texts = [(f"q{k}", [f"good{k}", f"bad{k}"]) for k in range(9)]
    for query, responses in with_others(texts, 5, seed=1):
        assert responses[:2] == [f"good{query[1]}", f"bad{query[1]}"]
        assert len(responses) == 5
        assert not any(response.endswith(query[1]) for response in responses[2:])


# Sampling ------------------------------------------------------------------------------------------


def test_responses_of_the_actor_end_after_64_tokens(folder: Path) -> None:
    actor = sampling.load_actor(folder)
    with torch.no_grad():
        logits = actor(torch.randint(4, 300, (4, 50))).logits / sampling.SETTINGS.temperature
    end = logits.softmax(-1)[..., actor.config.eos_token_id]
    assert 1 / end.mean().item() == pytest.approx(sampling.MEAN_TOKENS, rel=0.2)


def test_both_ways_of_sampling_count_the_tokens_that_they_draw(
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


def measured(*seconds: float, values: list[Any], more: dict[int, list[float]] | None = None) -> Measured:
    return Measured(100.0, {1: list(seconds), **(more or {})}, values, 250.0)


def test_ratios_are_of_medians() -> None:
    plan = Plan("train_pairs", "train_pairs", "5M", 64, 3)
    found = {
        "authors": measured(4.0, 9.0, 5.0, values=[0.7] * 3, more={2: [15.0]}),
        "ours": measured(2.0, 1.0, 2.5, values=[0.7] * 3),
    }
    results = job_results(plan, found, flops={"fraction": 120}, rate=100.0)
    assert results["vs_authors"] == 2.5
    assert results["growth"] == {"authors": {"2": 3.0}, "ours": {}}
    assert results["seconds"] == {"authors": 5.0, "ours": 2.0}
    assert results["peak_mb"] == {"authors": 250, "ours": 250}
    assert results["matmul_fraction"] == 0.6
    assert "vs_ours" not in results


def test_sampling_is_compared_by_token() -> None:
    plan = Plan("sample", "sample", "5M", 16, 1)
    found = {"plain": measured(6.0, values=[300]), "ours": measured(2.0, values=[200])}
    results = job_results(plan, found, flops={}, rate=1.0)
    assert results["vs_plain"] == 2.0
    assert results["vs_in_seconds"] == {"plain": 3.0}
    assert "matmul_fraction" not in results


def test_table_replaces_the_one_before() -> None:
    readme = f"# Title\n\n{BEGIN}old\n{END}\nafter\n"
    once = put_into(readme, "| new |\n")
    assert "old" not in once
    assert once.startswith("# Title") and once.endswith("\nafter\n")
    assert put_into(once, "| new |\n") == once


@pytest.mark.slow
def test_measured_in_processes(folder: Path) -> None:
    class Progress:
        moved = 0.0

        def update(self, by: float) -> None:
            self.moved += by

        def set_postfix_str(self, text: str, refresh: bool) -> None:
            pass

    plan, progress = Plan("score", "score", "5M", 4, 1, (2,), ("plain", "ours")), Progress()
    found, rates = measure(plan, folder, progress)
    assert progress.moved == pytest.approx(plan.cost)
    assert len(rates) == 1 and rates[0] > 1e9
    for way in found.values():
        assert [len(seconds) for seconds in way.seconds.values()] == [1, 1]
        assert way.peak_mb >= way.imported_mb > 50


@pytest.mark.slow
def test_way_that_fails_says_why(folder: Path) -> None:
    with Process("score", "plain", folder / "missing") as process:
        process.started()
        with pytest.raises(UserError, match=r"score, plain: .*missing/backbone"):
            process.run(1)


def test_every_way_of_a_job_has_a_row_in_the_table() -> None:
    plan = Plan("train_pairs", "train_pairs", "5M", 64, 1)
    found = {name: measured(1.0, values=[0.7]) for name in plan.chosen}
    results = {
        "machine": dict.fromkeys(
            ["cpu", "cores", "threads", "memory_gb", "torch", "transformers", "trl"], "?"
        ),
        "models": {"5M": 5},
        "data": {
            "source": "x",
            "vocabulary": 1,
            "max_length": 512,
            "text_tokens_mean": 1.0,
            "text_tokens_median": 1,
            "cut_queries": 0,
            "encoded_queries": 1,
        },
        "train_pairs": job_results(plan, found, flops={"fraction": 1, "fraction_all_layers": 1}, rate=1.0),
        "matmul_gflops": 1.0,
    }
    text = table(results)
    assert "| RM training, pairs, 5M, 64 rows | 1.00 | 1.00 |" in text
    assert all(f"| {way.title} | 1.00 |" in text for way in WAYS["train_pairs"].values())


def test_a_profile_shares_out_the_whole_time(folder: Path) -> None:
    found = shares(folder, "train_apo")
    assert sum(found.values()) == pytest.approx(1)
    assert all(0 < found[kind] < 1 for kind in ("matrix products", "attention", "elementwise", "rest"))
