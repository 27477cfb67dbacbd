"""LoRA: training of low-rank adapters of the linear layers instead of their weights.

A layer with weights W computes (W + alpha / rank x B A) x; A has `rank` rows and B `rank` columns (Hu et al.,
2021, section 4.1). A is initialized from the seed and B is 0, so training starts from the unchanged model.
There is no dropout. The head of a reward model has no adapter: its weights are trained and saved with them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.pytorch_utils import Conv1D

from apo.core.errors import UserError
from apo.training.settings import Lora

HEAD = "score"  # the head in AutoModelForSequenceClassification
NAME = "default"  # the name of a single adapter in peft


@dataclass(frozen=True)
class Adapter:
    """Trained adapters, for `PeftModel.from_pretrained` on the start checkpoint.

    Attributes:
        weights: A and B of every adapted layer, the head, and the embeddings if tokens were added.
        config: Content of `adapter_config.json`.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]

    def save(self, checkpoint: Path) -> None:
        """Writes the folder `adapter` of a checkpoint in the format of peft."""
        folder = checkpoint / "adapter"
        folder.mkdir()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.weights.items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        text = json.dumps(self.config, indent=2, sort_keys=True) + "\n"
        (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def add_adapters(model: Any, lora: Lora, *, seed: int, where: str) -> Any | None:
    """Adds adapters to a model, in place, and freezes its other weights except the head of a reward model.

    Args:
        model: A transformers model on the CPU, with any head.
        seed: Seed of A.
        where: Name of the section of params.yaml, for messages.

    Returns:
        The argument of `merge_adapters`; None with rank 0.

    Raises:
        UserError: The model has no such layers.
    """
    if not lora.rank:
        return None
    import peft  # slow, and only needed here

    layers = _linear_layers(model)
    targets = lora.targets or sorted(layers)
    unknown = [name for name in targets if name not in layers]
    if unknown or not targets:
        raise UserError(
            f"params.yaml: {where}.targets",
            found=f"{unknown[0]!r}, which is no linear layer of {type(model).__name__}" if unknown else "[]",
            expected=f"some of {', '.join(sorted(layers)) or 'its linear layers, of which it has none'}",
            do="write such names, or [] for all of them; `rank: 0` trains all weights",
        )
    head = hasattr(model, HEAD)
    config = peft.LoraConfig(
        task_type="SEQ_CLS" if head else "CAUSAL_LM",
        base_model_name_or_path=model.name_or_path,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=targets,
        modules_to_save=[HEAD] if head else None,
        fan_in_fan_out=all(issubclass(layers[name], Conv1D) for name in targets),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return peft.LoraModel(model, {NAME: config}, NAME)


def merge_adapters(tuner: Any | None) -> Adapter | None:
    """Merges the adapters into the weights, in place, which restores a plain transformers model.

    Args:
        tuner: The result of `add_adapters`.

    Returns:
        The adapters; None without adapters.
    """
    if tuner is None:
        return None
    from peft import get_peft_model_state_dict

    resized = _has_resized_embeddings(tuner.model)
    state = get_peft_model_state_dict(tuner, adapter_name=NAME, save_embedding_layers=resized)
    weights = {f"base_model.{name}": tensor.clone() for name, tensor in state.items()}
    config = tuner.peft_config[NAME].to_dict() | {"inference_mode": True}
    # The order of a set differs between processes.
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    tuner.merge_and_unload()
    return Adapter(weights, config)


def trained_weights(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _linear_layers(model: Any) -> dict[str, type]:
    """Types of the linear layers of a model without its head, by the last component of their names."""
    return {
        name.rpartition(".")[2]: type(module)
        for name, module in model.base_model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }


def _has_resized_embeddings(model: Any) -> bool:
    """Whether the embeddings have another number of rows than in the start checkpoint."""
    start = AutoConfig.from_pretrained(model.name_or_path, local_files_only=True, trust_remote_code=False)
    rows: int = model.get_input_embeddings().num_embeddings
    return rows != int(start.get_text_config().vocab_size)
