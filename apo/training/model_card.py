"""The model card of a checkpoint, `README.md` in Hugging Face's form; the same training gives the same text.

It says what the checkpoint was made of and by which versions of the libraries. What it is worth stands in the
metrics of its evaluation; `python -m apo.lineage FOLDER` finds every input in dvc.lock, with its hash.
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
) -> str:
    """The card of a reward model.

    Args:
        folder: Where the checkpoint is going to stand.
        start: The checkpoint that it started from.
        trained_on: Files of comparisons with their rows.
        settings: How it reads and was trained, `pooling` among them.
        parameters: Number of its weights.
    """
    data = ModelCardData(
        base_model=_shown(start),
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["apo", "reward-model"],
    )
    return _text(
        data,
        f"# {folder.name}",
        "A reward model: a number for a dialogue that ends in a response. Only differences between responses "
        "to the same query have a meaning; sigmoid(a - b) is the probability that the one with reward a is "
        "preferred to the one with reward b.",
        *_opened(CLASSIFIER if settings["pooling"] in ("last", "eos") else OTHER_POOLING, folder),
        *_trained(f"`{_shown(start)}`", trained_on, settings, parameters),
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
        "Computed with",
        _listed(f"`{name}`: {json.dumps(value)}" for name, value in _run_info().items()),
    ]


def _run_info() -> dict[str, Any]:
    """What the last bits of the weights depend on: device, threads, engine, versions of what was loaded."""
    versions = {name: installed(name) for name in VERSIONS if name in sys.modules}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {**runtime.RUN_INFO, "python": python, **versions}


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _text(data: ModelCardData, *blocks: str) -> str:
    return "\n\n".join([f"---\n{data.to_yaml()}\n---", *blocks]) + "\n"


def _shown(path: Path) -> str:
    """A path of the repository, or the last name of one elsewhere."""
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return path.name if shown.is_absolute() else shown.as_posix()
