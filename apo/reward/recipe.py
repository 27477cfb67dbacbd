"""The recipe of the three stages that train a reward model: load, tokenize, check, train, save."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from apo.model.reward_model import RewardModel, rate
from apo.model.settings import Model
from apo.reward.settings import Apo, RewardTraining
from apo.reward.token_checks import Comparison, TokenCheck
from apo.reward.token_issues import TOKEN_ISSUES
from apo.reward.train import RankedResponses, train_reward_model
from apo.reward.verify import verify
from apo.training.checkpointing import Checkpoints
from apo.training.lora import add_adapters, merge_adapters, trained_weights
from apo.training.model_card import reward_model_card
from apo.training.trainer import warmup_metrics


class Outputs(NamedTuple):
    """Where it goes: the folder of the checkpoint, the folder of the curves, a JSON file."""

    out: Path
    curves: Path
    metrics: Path


def train_rm(
    name: str,
    *,
    start: Path,
    comparisons: Sequence[Path],
    adversarial_pairs: Path | None = None,
    apo: Apo | None = None,
    valid: Path | None = None,
    outputs: Outputs,
    params: Path,
) -> None:
    """Trains one reward model in all processes, and saves it in rank 0.

    Args:
        name: `base_rm`, `apo_rm_ROUND` or `test_rm`; `train_` and it are the key of the metrics.
        start: Backbone or reward model.
        comparisons: Human comparisons.
        adversarial_pairs: Golden > samples, weighted by `apo`.
        valid: Comparisons whose accuracy joins the curve every `rm.eval_steps`.
    """
    seed, reading = read_seed(params), read_section(params, "model", Model)
    settings = read_section(params, "rm", RewardTraining, defaults="training")
    runtime.set_up()
    adversarial = [adversarial_pairs] if adversarial_pairs else []
    files = [*comparisons, *adversarial]
    watched = [valid] if valid and settings.eval_steps else []
    weights = apo.model_dump(exclude={"init_from"}) if apo else {}
    training = settings.model_dump(exclude=set() if settings.lora.rank else {"lora"})
    key = fingerprint([reading, training, weights, seed, runtime.numerics()], [start, *files, *watched])
    model = start_reward_model(start, reading, seed=seed)
    tuner = add_adapters(model.classifier, settings.lora, seed=seed, where="rm.lora")
    counts: Counter[str] = Counter({"trained_weights": trained_weights(model)} if tuner else {})
    check = _checked(model.encoder, settings, start)
    data = _tokenized(model.encoder, check, comparisons, counts)
    data += _tokenized(model.encoder, check, adversarial, counts, is_adversarial=True)
    with Checkpoints(name, key).exclusive() as checkpoints:
        curve = train_reward_model(
            model,
            data,
            settings,
            **weights,
            seed=seed,
            desc=name,
            checkpoints=checkpoints,
            eval_fn=_evaluation(model, watched[0]) if watched else None,
            eval_steps=settings.eval_steps,
        )
        if not distributed.is_main_process():
            return  # what follows takes memory, and rank 0 writes it
        model.to(runtime.device())
        adapter = merge_adapters(tuner)
        card = _card(model, outputs.out, start, files, reading.model_dump() | training | weights)
        more = adapter.save if adapter else None
        save_reward_model(model, outputs.out, card, more, dtype=settings.dtype)
        train = {**dict(sorted(counts.items())), **warmup_metrics(len(curve), settings)}
        saved = verify(model, outputs.out, comparisons[0], dtype=settings.dtype)
        _write(name, outputs, curve, check, train, saved=saved)
        checkpoints.remove_older()


def adopt_rm(name: str, *, start: Path, comparisons: Path, outputs: Outputs, params: Path) -> None:
    """Takes a reward model as it is, of this pipeline or any other with one label.

    Args:
        name: `train_` and it are the key of the metrics.
        start: Its checkpoint.
        comparisons: Human comparisons, on which the copy is compared with it.
    """
    reading = read_section(params, "model", Model)
    dtype = read_section(params, "rm", RewardTraining, defaults="training").dtype
    runtime.set_up()
    if not distributed.is_main_process():
        return
    model = load_reward_model(start, foreign=reading).eval()
    card = _card(model, outputs.out, start, [], {"pooling": model.encoder.pooling})
    save_reward_model(model, outputs.out, card, dtype=dtype)
    write_csv(outputs.curves / "training.csv", [{"step": 0}])
    saved = verify(model, outputs.out, comparisons, dtype=dtype)
    write_json(outputs.metrics, {f"train_{name}": {"train": {"trained_here": False}, "saved": saved}})


def _card(
    model: RewardModel, out: Path, start: Path, files: Sequence[Path], settings: Mapping[str, Any]
) -> str:
    return reward_model_card(
        out,
        start=start,
        trained_on={path: sum(1 for _ in read_rows(path)) for path in files},
        settings=settings,
        parameters=model.classifier.num_parameters(),
    )


def _write(
    name: str,
    outputs: Outputs,
    curve: Sequence[Mapping[str, Any]],
    check: TokenCheck,
    train: Mapping[str, Any],
    *,
    saved: Mapping[str, float],
) -> None:
    """Writes the curve, the lengths, examples of data issues and the metrics of a training."""
    write_csv(outputs.curves / "training.csv", curve)
    write_csv(outputs.curves / "lengths.csv", check.lengths.histogram())
    write_rows(outputs.curves / "issues.jsonl", check.issues.examples)
    train = {**train, "final_loss": curve[-1]["loss"]}
    metrics = {"train": train, "issues": dict(check.issues.counts), "saved": saved}
    write_json(outputs.metrics, {f"train_{name}": metrics})


def _checked(encoder: Encoder, settings: RewardTraining, start: Path) -> TokenCheck:
    """The token checks of a training, after they have looked at the tokenizer."""
    issues = DataIssues(TOKEN_ISSUES, settings.on_issue.actions())
    check = TokenCheck(encoder, issues, unknown_rate=settings.unknown_rate)
    check.check_tokenizer(str(start))
    return check


def _tokenized(
    encoder: Encoder,
    check: TokenCheck,
    paths: Sequence[Path],
    counts: Counter[str],
    *,
    is_adversarial: bool = False,
) -> list[RankedResponses]:
    """Tokenized comparisons without what the checks drop; one without a pair teaches nothing."""
    ranked: list[RankedResponses] = []
    for path in paths:
        rows = list(read_rows(path))
        tokenized = encoder.tokenize(
            ((r["query"], r["responses"]) for r in rows), counts, where=str(path), allow_blank=True
        )
        cut_before = counts["responses_cut"]
        for number, (row, ids) in enumerate(zip(rows, tokenized, strict=True), start=1):
            if ids is None:  # counted in dialogues_dropped
                continue
            labels = [float(score) for score in row["scores"]]
            if len(set(labels)) < 2:
                counts["dropped_without_pair"] += 1
                continue
            place = f"{path}:{number}"
            stays = check.kept_responses(
                Comparison(row["query"], row["responses"], labels, ids, place, is_adversarial)
            )
            stay_labels = [labels[index] for index in stays]
            if len(set(stay_labels)) < 2:
                counts["dropped_by_issues"] += 1
                continue
            item = encoder.cut(ids.only(stays), counts)
            kept = RankedResponses(item, stay_labels, is_adversarial)
            ranked.append(kept)
            counts["apo_pairs" if is_adversarial else "human_pairs"] += kept.pairs
        encoder.log_truncation(counts["responses_cut"] - cut_before, where=str(path))
    if paths and not ranked:
        raise UserError(
            ", ".join(map(str, paths)),
            found="no comparison to train on",
            expected="at least one",
            do=f"look at the counts in metrics/split.json and metrics/convert.json; rm.on_issue dropped "
            f"{counts['dropped_by_issues']}: {dict(+check.issues.counts)}",
        )
    return ranked


def _evaluation(model: RewardModel, valid: Path) -> Callable[[int], dict[str, float]]:
    """Accuracy (a tie counted half) and mean loss in nats of the pairs of `valid`, while training."""
    all_rows = list(read_rows(valid))
    texts = ((row["query"], row["responses"]) for row in all_rows)
    read = list(model.encoder.tokenize(texts, Counter(), where=str(valid)))
    rows = [row for row, one in zip(all_rows, read, strict=True) if one]
    items = [model.encoder.cut(one, Counter()) for one in read if one]
    labels = pad_responses([row["scores"] for row in rows], math.nan, torch.float64)
    pairs = sum(RankedResponses(item, row["scores"]).pairs for item, row in zip(items, rows, strict=True))

    def evaluate(step: int) -> dict[str, float]:
        rewards = pad_responses(rate(model, items), 0.0, torch.float64)
        mask = ~labels.isnan()
        losses = pair_loss_sums(rewards, labels, mask=mask, pair_loss=bradley_terry)
        in_order = pairs_in_order(rewards, labels, mask=mask)
        return {"valid_accuracy": float(in_order.sum()) / pairs, "valid_nll": float(losses.sum()) / pairs}

    return evaluate
