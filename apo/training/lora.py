"""LoRA: low-rank adapters beside the linear layers of a model are trained in the place of its weights.

A layer with weights W computes (W + alpha / rank x B A) x; A has `rank` rows and B `rank` columns (Hu et al.,
2021, section 4.1). A is drawn from the seed and B is 0, so an adapted model starts as the model itself. There
is no dropout. The head of a reward model is trained whole, and saved with the adapters.
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

HEAD = "score"  # of every AutoModelForSequenceClassification that we train
NAME = "default"  # peft's for a single adapter


@dataclass(frozen=True)
class Adapter:
    """What was trained, as `PeftModel.from_pretrained` opens it on the model that it was trained on.

    Attributes:
        weights: A and B of every adapted layer, the head, and the embeddings where tokens were added to them.
        config: What `adapter_config.json` holds.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]

    def save(self, checkpoint: Path) -> None:
        """Writes the folder `adapter` of a checkpoint, in peft's form."""
        folder = checkpoint / "adapter"
        folder.mkdir()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.weights.items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        text = json.dumps(self.config, indent=2, sort_keys=True) + "\n"
        (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def add_adapters(model: Any, lora: Lora, *, seed: int, where: str) -> Any | None:
    """Puts adapters into a model, in place, and freezes its other weights but the head of a reward model.

    Args:
        model: As transformers loads it, on the CPU, with any head.
        where: Name of the section, for error messages.

    Returns:
        What `merge_adapters` takes, None with rank 0.

    Raises:
        UserError: The model has no such layers.
    """
    if not lora.rank:
        return None
    import peft  # takes most of a second, which a training of all weights does not pay

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
    """Adds the adapters to the weights, in place, so that the model is one of transformers again.

    Args:
        tuner: Of `add_adapters`.

    Returns:
        The adapters as they were, None where there are none.
    """
    if tuner is None:
        return None
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(tuner, adapter_name=NAME, save_embedding_layers=_has_grown(tuner.model))
    weights = {f"base_model.{name}": tensor.clone() for name, tensor in found.items()}
    config = tuner.peft_config[NAME].to_dict() | {"inference_mode": True}
    # The order of a set is another in every process.
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    tuner.merge_and_unload()
    return Adapter(weights, plain)


def trained_weights(model: nn.Module) -> int:
    """How many numbers a training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _linear_layers(model: Any) -> dict[str, type]:
    """The linear layers of a model without its head, by the last part of their names."""
    return {
        name.rpartition(".")[2]: type(module)
        for name, module in model.base_model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }


def _has_grown(model: Any) -> bool:
    """Whether tokens were added to the embeddings of the checkpoint, which holds no rows for them then."""
    before = AutoConfig.from_pretrained(model.name_or_path, local_files_only=True, trust_remote_code=False)
    rows: int = model.get_input_embeddings().num_embeddings
    return rows != int(before.get_text_config().vocab_size)
