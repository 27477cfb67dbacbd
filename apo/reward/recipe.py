"""The recipe of the three stages that train a reward model: load, tokenize, check, train, save."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from apo.core import distributed
from apo.core.cache import fingerprint
from apo.core.config import read_section, read_seed
from apo.core.data_issues import DataIssues
from apo.core.errors import UserError
from apo.core.records import read_rows, write_json, write_rows
from apo.core.tables import write_csv
from apo.losses import bradley_terry, pair_loss_sums, pairs_in_order
from apo.model import runtime
from apo.model.batching import pad_responses
from apo.model.checkpoint import load_reward_model, save_reward_model, start_reward_model
from apo.model.encoding import Encoder
from apo.model.reward_model import RewardModel, compute_rewards
from apo.model.settings import Model
from apo.reward.settings import Apo, RewardTraining
from apo.reward.token_checks import Comparison, TokenCheck
from apo.reward.token_issues import TOKEN_ISSUES
from apo.reward.train import train_reward_model
from apo.reward.verify import verify
from apo.training.checkpointing import Checkpoints
from apo.training.lora import add_adapters, merge_adapters, trained_weights
from apo.training.model_card import reward_model_card
from apo.training.outputs import Outputs
from apo.training.ranked_responses import RankedResponses
from apo.training.trainer import warmup_metrics


def train_rm(
    name: str,
    *,
    start: Path,
    comparisons: Sequence[Path],
    adversarial_pairs: Sequence[Path] = (),
    apo: Apo | None = None,
    valid: Path | None = None,
    outputs: Outputs,
    params: Path,
) -> None:
    """Trains one reward model in all processes, and saves it in rank 0.

    Args:
        name: `base_rm`, `apo_rm_ROUND` or `test_rm`; the key of the metrics is `train_NAME`.
        start: Backbone or reward model.
        comparisons: Human comparisons.
        adversarial_pairs: Golden > samples, weighted by `apo`.
        valid: Comparisons whose accuracy is added to the curve every `rm.eval_steps` steps.

    Raises:
        UserError: No comparison is left to train on, or an input is not usable.
    """
    seed, model_settings = read_seed(params), read_section(params, "model", Model)
    settings = read_section(params, "rm", RewardTraining, defaults="training")
    runtime.set_up()
    valid_files = [valid] if valid and settings.eval_steps else []
    weights = apo.model_dump(exclude={"init_from"}) if apo else {}
    training = settings.model_dump(exclude=set() if settings.lora.rank else {"lora"})
    computed_from = [model_settings, training, weights, seed, runtime.numerics()]
    key = fingerprint(computed_from, [start, *comparisons, *adversarial_pairs, *valid_files])
    model = start_reward_model(start, model_settings, seed=seed)
    tuner = add_adapters(model.classifier, settings.lora, seed=seed, where="rm.lora")
    counts: Counter[str] = Counter({"trained_weights": trained_weights(model)} if tuner else {})
    check = _token_check(model.encoder, settings, start)
    items = {
        **_tokenized(model.encoder, check, comparisons, counts),
        **_tokenized(model.encoder, check, adversarial_pairs, counts, is_adversarial=True),
    }
    with Checkpoints(name, key).lock() as checkpoints:
        curve = train_reward_model(
            model,
            list(chain.from_iterable(items.values())),
            settings,
            **weights,
            seed=seed,
            desc=name,
            checkpoints=checkpoints,
            eval_fn=_evaluation(model, valid_files[0]) if valid_files else None,
            eval_steps=settings.eval_steps,
        )
        if not distributed.is_main_process():
            return  # what follows takes memory, and rank 0 writes it
        model.to(runtime.device())
        adapter = merge_adapters(tuner)
        card = _card(model, outputs.out, start, items, model_settings.model_dump() | training | weights)
        save_reward_model(model, outputs.out, card, adapter.save if adapter else None, dtype=settings.dtype)
        train_metrics = {**dict(sorted(counts.items())), **warmup_metrics(len(curve), settings)}
        saved = verify(model, outputs.out, comparisons[0], dtype=settings.dtype)
        _write(name, outputs, curve, check, train_metrics, saved=saved)


def adopt_rm(name: str, *, start: Path, comparisons: Path, outputs: Outputs, params: Path) -> None:
    """Copies a reward model without training: one of this pipeline or any other with one label.

    Args:
        name: See `train_rm`.
        comparisons: Human comparisons, on which the copy is verified.

    Raises:
        UserError: The checkpoint is not a reward model.
    """
    model_settings = read_section(params, "model", Model)
    dtype = read_section(params, "rm", RewardTraining, defaults="training").dtype
    runtime.set_up()
    if not distributed.is_main_process():
        return
    model = load_reward_model(start, default_settings=model_settings).eval()
    card = _card(model, outputs.out, start, {}, {"pooling": model.encoder.pooling})
    save_reward_model(model, outputs.out, card, dtype=dtype)
    write_csv(outputs.curves / "training.csv", [{"step": 0}])
    saved = verify(model, outputs.out, comparisons, dtype=dtype)
    write_json(outputs.metrics, {f"train_{name}": {"train": {"trained_here": False}, "saved": saved}})


def _card(
    model: RewardModel,
    out: Path,
    start: Path,
    items: Mapping[Path, Sequence[RankedResponses]],
    settings: Mapping[str, Any],
) -> str:
    return reward_model_card(
        out,
        start=start,
        trained_on={path: len(ranked) for path, ranked in items.items()},
        settings=settings,
        parameters=model.classifier.num_parameters(),
    )


def _write(
    name: str,
    outputs: Outputs,
    curve: Sequence[Mapping[str, Any]],
    check: TokenCheck,
    train_metrics: Mapping[str, Any],
    *,
    saved: Mapping[str, float],
) -> None:
    """Writes the curve, the lengths, examples of data issues and the metrics of a training."""
    write_csv(outputs.curves / "training.csv", curve)
    write_csv(outputs.curves / "lengths.csv", check.lengths.histogram())
    write_rows(outputs.curves / "issues.jsonl", check.issues.examples)
    train_metrics = {**train_metrics, "final_loss": curve[-1]["loss"]}
    metrics = {"train": train_metrics, "issues": dict(check.issues.counts), "saved": saved}
    write_json(outputs.metrics, {f"train_{name}": metrics})


def _token_check(encoder: Encoder, settings: RewardTraining, start: Path) -> TokenCheck:
    """The token checks of a training; the tokenizer is checked already."""
    issues = DataIssues(TOKEN_ISSUES, settings.on_issue.actions())
    check = TokenCheck(encoder, issues, unknown_rate=settings.unknown_rate)
    check.check_tokenizer(str(start))
    return check


def _tokenized(
    encoder: Encoder,
    check: TokenCheck,
    files: Sequence[Path],
    counts: Counter[str],
    *,
    is_adversarial: bool = False,
) -> dict[Path, list[RankedResponses]]:
    """The comparisons by file, without those that the checks drop or that have no pair."""
    ranked: dict[Path, list[RankedResponses]] = {path: [] for path in files}
    for path in files:
        rows = list(read_rows(path))
        tokenized = encoder.tokenize(
            ((row["query"], row["responses"]) for row in rows), counts, where=str(path), allow_blank=True
        )
        truncated_before = counts["responses_cut"]
        for line, (row, rendered) in enumerate(zip(rows, tokenized, strict=True), start=1):
            if rendered is None:  # counted in dialogues_dropped
                continue
            labels = [float(score) for score in row["scores"]]
            if len(set(labels)) < 2:
                counts["dropped_without_pair"] += 1
                continue
            where = f"{path}:{line}"
            indices = check.kept_responses(
                Comparison(row["query"], row["responses"], labels, rendered, where, is_adversarial)
            )
            kept_labels = [labels[index] for index in indices]
            if len(set(kept_labels)) < 2:
                counts["dropped_by_issues"] += 1
                continue
            item = encoder.truncate(rendered.only(indices), counts)
            responses = RankedResponses(item, kept_labels, is_adversarial)
            ranked[path].append(responses)
            counts["apo_pairs" if is_adversarial else "human_pairs"] += responses.pairs
        encoder.log_truncation(counts["responses_cut"] - truncated_before, where=str(path))
    if files and not any(ranked.values()):
        raise UserError(
            ", ".join(map(str, files)),
            found="no comparison to train on",
            expected="at least one",
            do="look at the counts in metrics/split.json and metrics/ROUND/convert.json; rm.on_issue dropped "
            f"{counts['dropped_by_issues']}: {dict(+check.issues.counts)}",
        )
    return ranked


def _evaluation(model: RewardModel, valid: Path) -> Callable[[int], dict[str, float]]:
    """A function that measures accuracy (a tie counts half) and mean loss in nats on the pairs of `valid`."""
    rows, items = model.encoder.read_comparisons(valid, Counter())
    if not rows:
        raise UserError(
            str(valid),
            found="no comparison to measure rm.eval_steps on",
            expected="at least one",
            do="set rm.eval_steps to 0, or split.valid_fraction above 0",
        )
    labels = pad_responses([row["scores"] for row in rows], math.nan, torch.float64)
    pairs = sum(RankedResponses(item, row["scores"]).pairs for item, row in zip(items, rows, strict=True))

    def evaluate(step: int) -> dict[str, float]:
        rewards = pad_responses(compute_rewards(model, items), 0.0, torch.float64)
        mask = ~labels.isnan()
        losses = pair_loss_sums(rewards, labels, mask=mask, pair_loss=bradley_terry)
        in_order = pairs_in_order(rewards, labels, mask=mask)
        return {"valid_accuracy": float(in_order.sum()) / pairs, "valid_nll": float(losses.sum()) / pairs}

    return evaluate
