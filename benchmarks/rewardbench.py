"""RewardBench's own command, `rewardbench --model ... --dataset ...`, with the libraries of this environment.

    PYTHONPATH=.venv/rewardbench python -m benchmarks.rewardbench --model models/rm_apo/r1 \\
      --dataset dialogues.jsonl --load_json --not_quantized --torch_dtype float32

RewardBench 0.1.4 asks for transformers 4.51.0. Its reading of data, its use of the chat template, its
scoring and its accuracy run here as they are. Three things do not and have a stand-in: the table of other
people's reward models, of which the entry for every `AutoModelForSequenceClassification` is kept; `wandb` and
`pkg_resources`, which it imports for uploads; and, without a GPU, its fixed "cuda" is the CPU.
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


def stand_in(name: str, **content: Any) -> ModuleType:
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
    stand_in("wandb")
    stand_in("pkg_resources")
    models = stand_in("rewardbench.models", __path__=[str(folder)], DPO_MODEL_CONFIG={})
    pipeline = importlib.util.spec_from_file_location("rewardbench.models.pipeline", folder / "pipeline.py")
    assert pipeline is not None and pipeline.loader is not None
    theirs = importlib.util.module_from_spec(pipeline)
    pipeline.loader.exec_module(theirs)
    models.REWARD_MODEL_CONFIG = {  # type: ignore[attr-defined]
        "default": {
            "model_builder": transformers.AutoModelForSequenceClassification.from_pretrained,
            "pipeline_builder": theirs.RewardBenchPipeline,
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
