"""A DeepSpeed configuration, validated against `params.yaml` and the environment and completed from them.

`APO_DEEPSPEED` names a JSON file. `params.yaml` defines what is computed; the file defines how the training
is sharded. A key of the file that contradicts params.yaml is an error.
"""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import torch

from apo.core import distributed
from apo.core.errors import UserError
from apo.model import runtime
from apo.training.settings import Optimizer

RESERVED = {
    "optimizer": "the optimizer is in params.yaml",
    "scheduler": "the schedule is in params.yaml",
    "train_micro_batch_size_per_gpu": "APO_TOKEN_BUDGET sets the micro-batches",
    "gradient_accumulation_steps": "APO_TOKEN_BUDGET sets the micro-batches",
}
"""Keys that must be absent or `auto`, with the reason."""


def deepspeed_config(settings: Optimizer, device: torch.device) -> dict[str, Any] | None:
    """The configuration of APO_DEEPSPEED, in the format of `deepspeed.initialize`; None if it is not set.

    Raises:
        UserError: There is no such file, it contradicts the parameters, or DeepSpeed can't run.
    """
    name = os.environ.get("APO_DEEPSPEED", "")
    if not name:
        return None
    if not distributed.launched():
        do = "set APO_LAUNCH='torchrun --standalone --nproc_per_node 1' or more, or unset it"
        raise UserError("APO_DEEPSPEED", found="no APO_LAUNCH", expected="a launcher beside it", do=do)
    if importlib.util.find_spec("deepspeed") is None:
        do = "install it: requirements.txt has its version; or unset it"
        raise UserError("APO_DEEPSPEED", found="no package deepspeed", expected="it installed", do=do)
    given = _read(name)
    zero, half = _validate(name, given, settings), runtime.precision(device) == "bf16"
    requested = _section(name, given, "bf16").get("enabled", "auto")
    if requested not in ("auto", half):
        raise _contradiction(name, "bf16.enabled", requested, f"{half} or auto, since APO_PRECISION says so")
    config = {key: value for key, value in given.items() if key not in (*RESERVED, "train_batch_size")}
    return config | {
        "zero_optimization": zero | ({"overlap_comm": False} if device.type == "cpu" else {}),
        "bf16": config.get("bf16", {}) | {"enabled": half},
        "gradient_clipping": settings.max_grad_norm,
        # The number of micro-batches varies from step to step, and only the training loop knows the last one.
        "managed_gradient_accumulation": False,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # torch's AdamW steps offloaded weights: DeepSpeed's own optimizer needs a compiler.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def _validate(name: str, given: dict[str, Any], settings: Optimizer) -> dict[str, Any]:
    """Checks the file against the parameters; returns its section `zero_optimization`."""
    for key, reason in RESERVED.items():
        if given.get(key, "auto") != "auto":
            raise _contradiction(name, key, given[key], f"no such key: {reason}")
    _check_equal(name, given, "train_batch_size", settings.batch_size, "batch_size")
    _check_equal(name, given, "gradient_clipping", settings.max_grad_norm, "max_grad_norm")
    zero = _section(name, given, "zero_optimization")
    if zero.get("stage") not in (2, 3):
        raise _contradiction(name, "zero_optimization.stage", zero.get("stage"), "2 or 3")
    for section in ("offload_optimizer", "offload_param"):
        target = zero.get(section, {}).get("device", "none")
        if target not in ("none", "cpu"):
            raise _contradiction(name, f"zero_optimization.{section}.device", target, "cpu or none")
    if _section(name, given, "fp16").get("enabled", False) is not False:
        raise _contradiction(name, "fp16.enabled", given["fp16"]["enabled"], "bf16, or float32")
    if settings.optimizer != "adamw":
        raise UserError(
            name,
            found=f"the optimizer {settings.optimizer}, which needs unsharded matrices",
            expected="adamw: ZeRO shards the matrices among processes",
            do="unset APO_DEEPSPEED for this stage (APO_LAUNCH alone works), or change its optimizer",
        )
    return zero


def _read(name: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        content, reason = None, getattr(error, "strerror", None) or str(error)
    else:
        reason = "no JSON object"
    if not isinstance(content, dict):
        raise UserError(
            "APO_DEEPSPEED",
            found=f"{name!r} ({reason})",
            expected="a DeepSpeed configuration in JSON",
            do="name one, such as configs/zero3.json",
        )
    return content


def _section(name: str, given: dict[str, Any], key: str) -> dict[str, Any]:
    section = given.get(key, {})
    if not isinstance(section, dict):
        raise _contradiction(name, key, section, "an object")
    return section


def _check_equal(name: str, given: dict[str, Any], key: str, value: float, parameter: str) -> None:
    if given.get(key, "auto") not in ("auto", value):
        raise _contradiction(name, key, given[key], f"{value}, the {parameter} of params.yaml")


def _contradiction(name: str, key: str, value: Any, expected: str) -> UserError:
    return UserError(f"{name}: {key}", found=f"{value!r:.80}", expected=expected, do="remove or change it")
