"""What the three stages that train a reward model have in common."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from apo.core.cache import fingerprint
from apo.core.config import read_part, read_section, read_seed
from apo.core.errors import UserError
from apo.core.records import read_rows, write_json, write_rows
from apo.core.tables import write_csv
from apo.evaluation.evaluate_rm import measure
from apo.evaluation.rm_calibration import after_temperature, calibrate
from apo.losses import PairLoss, bradley_terry
from apo.metrics.histograms import histogram_rows, margin_rows
from apo.metrics.pairs import item_metrics
from apo.model import runtime
from apo.model.checkpoint import load_reward_model, save_reward_model, start_reward_model
from apo.model.encoding import Encoder
from apo.model.reward_model import RewardModel
from apo.model.settings import Model
from apo.reward.settings import RewardTraining
from apo.reward.token_checks import Comparison, TokenCheck
from apo.reward.token_issues import TOKEN_ISSUES
from apo.reward.train import Ranked, train_reward_model
from apo.scoring.rewards import rewards_of
from apo.scoring.settings import Gate
from apo.text.data_issues import DataIssues
from apo.text.dialogue import dialogue_to_messages
from apo.training.checkpointing import Checkpoints
from apo.training.lora import add_adapters, merge_adapters, trained_weights
from apo.training.model_card import reward_model_card


def train_rm(
    name: str,
    *,
    start: Path,
    comparisons: Sequence[Path],
    adversarial: Path | None = None,
    kl_weight: float = 1.0,
    apo_weight: float = 0.0,
    adversarial_loss: PairLoss = bradley_terry,
    measured_on: dict[str, Path],
    truth: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path,
) -> None:
    """Trains, saves and measures one reward model.

    Args:
        name: `base_rm`, `apo_rm` or `test_rm`: the key in the metrics.
        start: Backbone or reward model.
        comparisons: Human comparisons.
        adversarial: Items golden > samples.
        kl_weight: Of a human pair.
        apo_weight: Of a pair golden > sample.
        measured_on: Comparisons by name, none of which the model is trained on: `test`, and `valid`, where
            the temperature is fitted; without it there is none.

    Raises:
        UserError: Something is wrong with an input; nothing is written then.
    """
    model_settings = read_section(params, "model", Model)
    settings = read_part(params, "rm", RewardTraining, beside=Gate)
    seed = read_seed(params)
    runtime.set_up()
    files = [start, *comparisons, *([adversarial] if adversarial else [])]
    apart = {"calibration_bins", "bootstrap", *(() if settings.lora.rank else ("lora",))}
    training = settings.model_dump(exclude=apart)
    weights = {"kl_weight": kl_weight, "apo_weight": apo_weight, "apo_loss": adversarial_loss.__name__}
    key = fingerprint(
        [model_settings, training, seed, kl_weight, apo_weight, adversarial_loss.__name__],
        files + ([measured_on["valid"]] if settings.eval_steps and "valid" in measured_on else []),
    )
    model = start_reward_model(start, seed=seed, **model_settings.model_dump())
    tuner = add_adapters(model.classifier, settings.lora, seed=seed, where="rm.lora")
    counts: Counter[str] = Counter()
    if tuner:
        counts["trained_weights"] = trained_weights(model)
    issues = DataIssues(TOKEN_ISSUES, settings.on_issue.actions())
    check = TokenCheck(model.encoder, issues, unknown_rate=settings.unknown_rate)
    check.check_tokenizer(str(start))
    data = _ranked(model.encoder, check, comparisons, counts, is_apo=False)
    if adversarial:
        data += _ranked(model.encoder, check, [adversarial], counts, is_apo=True)
    look = _look_at(model, measured_on["valid"]) if "valid" in measured_on else None
    with Checkpoints(name, key).exclusive() as checkpoints:
        curve = train_reward_model(
            model,
            data,
            settings,
            kl_weight=kl_weight,
            apo_weight=apo_weight,
            adversarial=adversarial_loss,
            seed=seed,
            what=name,
            checkpoints=checkpoints,
            look=look,
            look_every=settings.eval_steps,
        )
        model.to(runtime.device())
        adapter = merge_adapters(tuner)
        found: dict[str, Any] = {"train": {**dict(sorted(counts.items())), "final_loss": curve[-1]["loss"]}}
        found["issues"] = dict(issues.counts)
        bins = settings.calibration_bins
        measured = {
            split: measure(model, path, truth=truth, bins=bins, what=f"{name} {split}")
            for split, path in measured_on.items()
        }
        found |= {split: own.metrics for split, own in measured.items()}
        curve_of = {"reliability": {split: own.curve for split, own in measured.items()}}
        calibration = None
        if "valid" in measured:
            resamples = settings.bootstrap
            calibration = calibrate(measured["valid"], bins=bins, seed=seed, resamples=resamples, what=name)
            after, rows = after_temperature(measured["test"], calibration["temperature"], bins=bins)
            found["test"]["calibrated"] = after
            curve_of["reliability_calibrated"] = {"test": rows}
        found["calibration"] = calibration or {"fitted_on": "nothing"}
        card = reward_model_card(
            out,
            start=start,
            trained_on={path: sum(1 for _ in read_rows(path)) for path in files[1:]},
            settings=model_settings.model_dump() | training | weights,
            parameters=model.classifier.num_parameters(),
            test=measured_on["test"],
            metrics=found["test"],
            calibration=calibration,
        )
        save_reward_model(model, out, card, calibration, adapter.save if adapter else None)
        found["saved"] = verify(model, out, measured_on["test"])
        write_csv(curves / "training.csv", curve)
        write_csv(curves / "lengths.csv", check.lengths.histogram())
        write_rows(curves / "issues.jsonl", issues.examples)
        for file, curves_of_splits in curve_of.items():
            rows = [{"split": split, **row} for split, own in curves_of_splits.items() for row in own]
            write_csv(curves / f"{file}.csv", rows)
        pairs = measured["test"]
        write_csv(
            curves / "rewards.csv", histogram_rows({"chosen": pairs.chosen, "rejected": pairs.rejected})
        )
        write_csv(curves / "margins.csv", margin_rows(pairs.chosen, pairs.rejected))
        write_json(metrics, {name: found})
        checkpoints.remove_older()


def _ranked(
    encoder: Encoder, check: TokenCheck, paths: Iterable[Path], counts: Counter[str], *, is_apo: bool
) -> list[Ranked]:
    """Encoded items without what the issues drop; one without a pair teaches nothing."""
    ranked = []
    for path in paths:
        rows = list(read_rows(path))
        uncut = encoder.uncut(((r["query"], r["responses"]) for r in rows), where=str(path), blanks=True)
        cut_before = counts["responses_cut"]
        for number, (row, ids) in enumerate(zip(rows, uncut, strict=True), start=1):
            scores = [float(score) for score in row["scores"]]
            if not Ranked(ids, scores).pairs:
                counts["dropped_without_pair"] += 1
                continue
            one = Comparison(row["query"], row["responses"], scores, ids, f"{path}:{number}", is_apo)
            stays = check.kept_responses(one)
            kept = Ranked(ids.only(stays), [scores[index] for index in stays], is_apo)
            if not kept.pairs:
                counts["dropped_by_issues"] += 1
                continue
            ranked.append(replace(kept, item=encoder.cut(kept.item, counts)))
            counts["apo_pairs" if is_apo else "human_pairs"] += kept.pairs
        encoder.tell_cut(counts["responses_cut"] - cut_before, where=str(path))
    if not ranked:
        raise UserError(
            ", ".join(map(str, paths)),
            found="no comparison to train on",
            expected="at least one",
            do=f"look at the counts in metrics/split.json and metrics/convert.json; rm.on_issue dropped "
            f"{counts['dropped_by_issues']}: {dict(+check.issues.counts)}",
        )
    return ranked


def _look_at(model: RewardModel, valid: Path) -> Any:
    """Accuracy and NLL on valid while training."""
    rows = list(read_rows(valid))
    items = list(
        model.encoder.items(((r["query"], r["responses"]) for r in rows), Counter(), where=str(valid))
    )

    def look(step: int) -> dict[str, float]:
        rewards = list(rewards_of(model, items, what=""))
        found = item_metrics(rewards, [row["scores"] for row in rows])
        return {"valid_accuracy": found["accuracy"], "valid_nll": found["nll"]}

    return look


def verify(model: RewardModel, folder: Path, comparisons: Path) -> dict[str, int]:
    """Loads a saved model again and compares rewards and chat template on fixed rows.

    Returns:
        How many rows were compared, and of how many the chat template gives exactly the ids that are
        scored (a dialogue that is no plain alternation of turns has none).

    Raises:
        UserError: A reward differs by more than 1e-5.
    """
    again = load_reward_model(folder).to(model.classifier.device).eval()
    rows = [row for row, _ in zip(read_rows(comparisons), range(32), strict=False)]
    texts = [(row["query"], row["responses"]) for row in rows]
    items = list(model.encoder.items(texts, Counter(), where=str(comparisons)))
    before = list(rewards_of(model, items, what=""))
    after = list(rewards_of(again, items, what=""))
    gap = max(abs(x - y) for xs, ys in zip(before, after, strict=True) for x, y in zip(xs, ys, strict=True))
    if gap > 1e-5:
        raise UserError(
            str(folder),
            found=f"rewards that differ by {gap:.1e} after saving and loading",
            expected="the same rewards",
            do="check that the backbone's weights are not tied to something that is not saved",
        )
    equal = 0
    for (query, responses), item in zip(texts, items, strict=True):
        messages = [*dialogue_to_messages(query), {"role": "assistant", "content": responses[0].strip()}]
        ids = again.encoder.tokenizer.apply_chat_template(messages, return_dict=False)
        equal += list(ids) == item.prefix + item.responses[0]
    return {"rows_compared": len(rows), "chat_template_equal": equal}
