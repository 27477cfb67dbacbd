"""RewardBench's own command, `rewardbench --model ... --dataset ...`, with the libraries of this environment.

    PYTHONPATH=.venv/rewardbench python -m benchmarks.rewardbench --model models/rm_apo/r1 \\
      --dataset dialogues.jsonl --load_json --not_quantized --torch_dtype float32

RewardBench 0.1.4 requires transformers 4.51.0. Its data loading, chat template, scoring and accuracy run here
unchanged. Three parts are replaced: its table of reward models has only the entry for every
`AutoModelForSequenceClassification`; `wandb` and `pkg_resources`, which it imports for uploads, are empty
modules; and without a GPU, its fixed device "cuda" is the CPU.
"""

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import transformers


def replace_module(name: str, **content: Any) -> ModuleType:
    """Adds a module with the given content to `sys.modules`."""
    module = ModuleType(name)
    vars(module).update(content, __spec__=ModuleSpec(name, None))
    sys.modules[name] = module
    return module


def main() -> None:
    spec = importlib.util.find_spec("rewardbench")
    if spec is None or spec.origin is None:
        sys.exit(
            "error: RewardBench is not installed: run `make interop`, and set PYTHONPATH=.venv/rewardbench"
        )
    folder = Path(spec.origin).parent / "models"
    replace_module("wandb")
    replace_module("pkg_resources")
    models = replace_module("rewardbench.models", __path__=[str(folder)], DPO_MODEL_CONFIG={})
    pipeline = importlib.util.spec_from_file_location("rewardbench.models.pipeline", folder / "pipeline.py")
    assert pipeline is not None and pipeline.loader is not None
    pipeline_module = importlib.util.module_from_spec(pipeline)
    pipeline.loader.exec_module(pipeline_module)
    models.REWARD_MODEL_CONFIG = {  # type: ignore[attr-defined]
        "default": {
            "model_builder": transformers.AutoModelForSequenceClassification.from_pretrained,
            "pipeline_builder": pipeline_module.RewardBenchPipeline,
            "quantized": True,
            "custom_dialogue": False,
            "model_type": "Seq. Classifier",
        }
    }
    if not torch.cuda.is_available():
        to = transformers.BatchEncoding.to
        transformers.BatchEncoding.to = lambda inputs, device: to(
            inputs, "cpu" if device == "cuda" else device
        )
    importlib.import_module("rewardbench.rewardbench").main()


if __name__ == "__main__":
    main()
