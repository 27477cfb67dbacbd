"""The model card of a checkpoint, `README.md` in the Hugging Face format. It is deterministic.

It lists the inputs of the training and the versions of the libraries. The quality of the model is in the
metrics of its evaluation. `python -m apo.lineage FOLDER` finds every input in dvc.lock, with its hash.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from apo.model import runtime
from apo.model.versions import VERSIONS, installed

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

from apo.model.checkpoint import load_reward_model  # no Hugging Face class has this pooling

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
) -> str:
    """The card of a reward model.

    Args:
        trained_on: Files of comparisons with their number of rows.
        settings: Settings of the model and the training, `pooling` among them.
    """
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["apo", "reward-model"],
    )
    return _render(
        data,
        f"# {folder.name}",
        "A reward model: a number for a dialogue that ends in a response. Only differences between responses "
        "to the same query have a meaning; sigmoid(a - b) is the probability that the one with reward a is "
        "preferred to the one with reward b.",
        *_usage(CLASSIFIER if settings["pooling"] in ("last", "eos") else OTHER_POOLING, folder),
        *_training(f"`{_relative(start)}`", trained_on, settings, parameters),
        *LICENCE,
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
        start: The start checkpoint; None for random weights.
        trained_on: Files of texts or answers with their number of rows; None for an untrained copy.
    """
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["apo"],
    )
    return _render(
        data,
        f"# {folder.name}",
        "A causal language model that answers dialogues in the form below.",
        *_usage(LANGUAGE_MODEL, folder),
        *_training(f"`{_relative(start)}`" if start else "random weights", trained_on, settings, parameters),
        *LICENCE,
    )


def _usage(example: str, folder: Path) -> list[str]:
    return ["## How to open it", f"```python\n{example.format(folder=_relative(folder))}```"]


def _training(
    start: str, trained_on: Mapping[Path, int] | None, settings: Mapping[str, Any] | None, parameters: int
) -> list[str]:
    """The section on start checkpoint, training data and settings."""
    lines = ["## What it was made of", f"{parameters} parameters, which started from {start}."]
    if not trained_on:
        return [*lines, "It was taken as it is; nothing was trained here."]
    return [
        *lines,
        "Trained on",
        _bullets(f"`{_relative(path)}`, {rows} rows" for path, rows in trained_on.items()),
        "with",
        _bullets(f"`{name}`: {json.dumps(value)}" for name, value in (settings or {}).items()),
        "Computed with",
        _bullets(f"`{name}`: {json.dumps(value)}" for name, value in _run_info().items()),
    ]


def _run_info() -> dict[str, Any]:
    """What the rounding of the weights depends on: device, threads, engine, library versions."""
    versions = {name: installed(name) for name in VERSIONS if name in sys.modules}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {**runtime.RUN_INFO, "python": python, **versions}


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _render(data: ModelCardData, *blocks: str) -> str:
    return "\n\n".join([f"---\n{data.to_yaml()}\n---", *blocks]) + "\n"


def _relative(path: Path) -> str:
    """The path relative to the working directory, or the file name of a path outside it."""
    root = Path.cwd()
    relative = path.relative_to(root) if path.is_relative_to(root) else path
    return path.name if relative.is_absolute() else relative.as_posix()
