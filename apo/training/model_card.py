"""The model card of a checkpoint, `README.md` in Hugging Face's form; the same training gives the same text.

What the checkpoint was made of, with hashes and versions, stands in the provenance beside its folder.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from apo.core.provenance import relative
from apo.core.records import Row

CLASSIFIER = """\
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
ids = tokenizer.apply_chat_template(
    [
        {{"role": "user", "content": "What is the capital of France?"}},
        {{"role": "assistant", "content": "The capital of France is Paris."}},
    ],
    return_tensors="pt",
    return_dict=True,
)
reward = model(**ids).logits[0, 0]
"""
OTHER_POOLING = """\
from pathlib import Path

from apo.model.checkpoint import load_reward_model  # the pooling is not one of Hugging Face's classes

model = load_reward_model(Path("{folder}"))
"""
LANGUAGE_MODEL = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
prompt = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "What is the capital of France?"}}],
    add_generation_prompt=True,
    return_tensors="pt",
    return_dict=True,
)
ids = model.generate(prompt["input_ids"], attention_mask=prompt["attention_mask"], max_new_tokens=64)
answer = tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
"""
LICENCE = (
    "## Licence",
    "No licence is claimed for these weights, so the head of this card names none. The licences of the "
    "checkpoint that it started from and of the data that it was trained on bind it; nobody has looked them "
    "up here. Do that before you give it away, and write the result under `license` in the head.",
)


def reward_model_card(
    folder: Path,
    *,
    start: Path,
    trained_on: Mapping[Path, int],
    settings: Mapping[str, Any],
    parameters: int,
    test: Path,
    metrics: Row,
    calibration: Row | None,
) -> str:
    """The card of a reward model.

    Args:
        folder: Where the checkpoint is going to stand.
        start: The checkpoint that it started from.
        trained_on: Files of comparisons with their rows.
        settings: How it reads and was trained, `pooling` among them.
        parameters: Number of its weights.
        test: Comparisons that it was not trained on.
        metrics: What was measured on them, and under `calibrated` what at the temperature.
        calibration: Of `apo.evaluation.rm_calibration`; None where there was nothing to fit a temperature on.
    """
    errors = [(k, v) for k, v in metrics.items() if k.startswith("ece_") and k[4:].isdigit()]
    values = [
        ("accuracy", "Accuracy", metrics["accuracy"]),
        ("nll", "Negative log-likelihood (nats)", metrics["nll"]),
        *(("ece", f"Expected calibration error ({key[4:]} bins)", value) for key, value in errors),
    ]
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type="comparisons",
            dataset_name=_shown(test),
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=value,
            verified=False,
        )
        for kind, name, value in values
    ]
    data = ModelCardData(
        base_model=_shown(start),
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["apo", "reward-model"],
        model_name=folder.name,
        eval_results=results,
    )
    return _text(
        data,
        f"# {folder.name}",
        "A reward model: a number for a dialogue that ends in a response. Only differences between responses "
        "to the same query have a meaning; sigmoid(a - b) is the probability that the one with reward a is "
        "preferred to the one with reward b.",
        *_opened(CLASSIFIER if settings["pooling"] in ("last", "eos") else OTHER_POOLING, folder),
        *_trained(f"`{_shown(start)}`", trained_on, settings, parameters),
        "## Measured",
        f"On the {metrics['pairs']} pairs of `{_shown(test)}`, which it was not trained on:",
        _listed(f"{name}: {value:.4f}" for _, name, value in values),
        f"95 % interval of the accuracy: {metrics['accuracy_low']:.4f} to {metrics['accuracy_high']:.4f}. "
        "The calibration error compares the probability above with how often the response was preferred; it "
        "holds for comparisons like these.",
        _temperature(calibration, metrics),
        *LICENCE,
    )


def _temperature(calibration: Row | None, metrics: Row) -> str:
    """The temperature, and what it does to the numbers on test."""
    if calibration is None:
        return (
            "No temperature was fitted: there are no comparisons that it was neither trained nor tested on."
        )
    after = metrics["calibrated"]
    errors = [f"{k[4:]} bins {v:.4f}" for k, v in after.items() if k.startswith("ece_") and k[4:].isdigit()]
    bounded = " It is a bound of what is tried, no optimum." if calibration["temperature_bounded"] else ""
    return (
        f"The temperature that fits the {calibration['pairs']} pairs of valid best is "
        f"{calibration['temperature']:.4f}: sigmoid((a - b) / {calibration['temperature']:.4f}).{bounded} On "
        f"test that gives a negative log-likelihood of {after['nll']:.4f} and an expected calibration error "
        f"of {', '.join(errors)}. It stands in `config.json` under `apo_calibration`; the rewards are not "
        "divided by it."
    )


def language_model_card(
    folder: Path,
    *,
    parameters: int,
    start: Path | None = None,
    trained_on: Mapping[Path, int] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """The card of a language model.

    Args:
        folder: Where the checkpoint is going to stand.
        parameters: Number of its weights.
        start: The checkpoint that it started from; none means random weights.
        trained_on: Files of texts or answers with their rows; none where the checkpoint was taken as it is.
        settings: Of the training.
    """
    data = ModelCardData(
        base_model=None if start is None else _shown(start),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["apo"],
    )
    return _text(
        data,
        f"# {folder.name}",
        "A causal language model that answers dialogues in the form below.",
        *_opened(LANGUAGE_MODEL, folder),
        *_trained(f"`{_shown(start)}`" if start else "random weights", trained_on, settings, parameters),
        *LICENCE,
    )


def _opened(example: str, folder: Path) -> list[str]:
    return ["## How to open it", f"```python\n{example.format(folder=_shown(folder))}```"]


def _trained(
    start: str, trained_on: Mapping[Path, int] | None, settings: Mapping[str, Any] | None, parameters: int
) -> list[str]:
    """What it started from, learned from, and how."""
    found = ["## What it was made of", f"{parameters} parameters, which started from {start}."]
    if not trained_on:
        return [*found, "It was taken as it is; nothing was trained here."]
    return [
        *found,
        "Trained on",
        _listed(f"`{_shown(path)}`, {rows} rows" for path, rows in trained_on.items()),
        "with",
        _listed(f"`{name}`: {json.dumps(value)}" for name, value in (settings or {}).items()),
    ]


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _text(data: ModelCardData, *blocks: str) -> str:
    return "\n\n".join([f"---\n{data.to_yaml()}\n---", *blocks]) + "\n"


def _shown(path: Path) -> str:
    """A path of the repository, or the last name of one elsewhere."""
    return path.name if Path(relative(path)).is_absolute() else relative(path)
