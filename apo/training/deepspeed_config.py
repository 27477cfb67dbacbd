"""A configuration of DeepSpeed, held against `params.yaml` and the environment, and completed by them.

`APO_DEEPSPEED` names a file of JSON. What is computed stands in `params.yaml`; the file says how the work is
parted among processes, and ends the stage where it says more.
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

OURS = {
    "optimizer": "the optimizer stands in params.yaml",
    "scheduler": "the schedule stands in params.yaml",
    "train_micro_batch_size_per_gpu": "micro-batches are made by APO_TOKEN_BUDGET",
    "gradient_accumulation_steps": "micro-batches are made by APO_TOKEN_BUDGET",
}
"""Keys that have to be absent or `auto`, and why."""


def deepspeed_config(settings: Optimizer, device: torch.device) -> dict[str, Any] | None:
    """The configuration that the environment names, as DeepSpeed takes it; None where it names none.

    Raises:
        UserError: There is no such file, it contradicts the parameters, or DeepSpeed can't run.
    """
    name = os.environ.get("APO_DEEPSPEED", "")
    if not name:
        return None
    if not (distributed.launcher_requested() or distributed.is_worker()):
        do = "set APO_LAUNCH='torchrun --standalone --nproc_per_node 1' or more, or unset it"
        raise UserError("APO_DEEPSPEED", found="no APO_LAUNCH", expected="what starts its processes", do=do)
    if importlib.util.find_spec("deepspeed") is None:
        do = "install it: requirements.txt has its version; or unset it"
        raise UserError("APO_DEEPSPEED", found="no package deepspeed", expected="it installed", do=do)
    given = _read(name)
    for key, why in OURS.items():
        if given.get(key, "auto") != "auto":
            raise _contradiction(name, key, given[key], f"no such key: {why}")
    _equal(name, given, "train_batch_size", settings.batch_size, "batch_size")
    _equal(name, given, "gradient_clipping", settings.max_grad_norm, "max_grad_norm")
    zero = _part(name, given, "zero_optimization")
    if zero.get("stage") not in (2, 3):
        raise _contradiction(name, "zero_optimization.stage", zero.get("stage"), "2 or 3")
    for part in ("offload_optimizer", "offload_param"):
        where = zero.get(part, {}).get("device", "none")
        if where not in ("none", "cpu"):
            raise _contradiction(name, f"zero_optimization.{part}.device", where, "cpu or none")
    if _part(name, given, "fp16").get("enabled", False) is not False:
        raise _contradiction(name, "fp16.enabled", given["fp16"]["enabled"], "bf16, or float32")
    half = runtime.precision(device) == "bf16"
    asked = _part(name, given, "bf16").get("enabled", "auto")
    if asked not in ("auto", half):
        raise _contradiction(name, "bf16.enabled", asked, f"{half} or auto, since APO_PRECISION says so")
    if settings.optimizer != "adamw":
        raise UserError(
            name,
            found=f"the optimizer {settings.optimizer}, which steps with whole matrices",
            expected="adamw: ZeRO parts the matrices among processes",
            do="unset APO_DEEPSPEED for this stage (APO_LAUNCH alone goes), or change its optimizer",
        )
    kept = {key: value for key, value in given.items() if key not in (*OURS, "train_batch_size")}
    return kept | {
        "zero_optimization": zero | ({"overlap_comm": False} if device.type == "cpu" else {}),
        "bf16": kept.get("bf16", {}) | {"enabled": half},
        "gradient_clipping": settings.max_grad_norm,
        # A step has as many micro-batches as its items need, and only we know which is its last.
        "managed_gradient_accumulation": False,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # Offloaded weights are stepped by torch's AdamW: DeepSpeed's own has to be compiled first.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def shards_weights(config: dict[str, Any] | None) -> bool:
    """Whether weights are parted too, and not optimizer and gradients alone."""
    return config is not None and config["zero_optimization"]["stage"] == 3


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
            expected="a configuration of DeepSpeed in JSON",
            do="name one, such as configs/zero3.json",
        )
    return content


def _part(name: str, given: dict[str, Any], key: str) -> dict[str, Any]:
    part = given.get(key, {})
    if not isinstance(part, dict):
        raise _contradiction(name, key, part, "an object")
    return part


def _equal(name: str, given: dict[str, Any], key: str, value: float, parameter: str) -> None:
    if given.get(key, "auto") not in ("auto", value):
        raise _contradiction(name, key, given[key], f"{value}, the {parameter} of params.yaml")


def _contradiction(name: str, key: str, found: Any, expected: str) -> UserError:
    return UserError(f"{name}: {key}", found=f"{found!r:.80}", expected=expected, do="remove or change it")
