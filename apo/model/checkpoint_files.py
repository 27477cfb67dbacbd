"""The files of a checkpoint folder: validation, load errors, and atomic writing; safetensors only."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from apo.core.errors import UserError


def check_checkpoint(folder: Path) -> None:
    """Checks that a folder is a Hugging Face checkpoint with safetensors weights.

    Raises:
        UserError: There is no config.json or no safetensors file.
    """
    if not (folder / "config.json").is_file():
        raise UserError(
            str(folder),
            found="no config.json in it" if folder.is_dir() else "no such folder",
            expected="a Hugging Face checkpoint",
            do="name the folder that holds config.json and the safetensors files",
        )
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(
            path.name for suffix in ("bin", "pt", "pth", "ckpt") for path in folder.glob(f"*.{suffix}")
        )
        raise UserError(
            str(folder),
            found="no *.safetensors file" + (f" but {pickles[0]}" if pickles else ""),
            expected="weights as safetensors (pickles are not loaded)",
            do="convert it, if you trust it, with transformers: AutoModelForCausalLM.from_pretrained(FOLDER)"
            ".save_pretrained(NEW_FOLDER), and the tokenizer likewise",
        )


@contextlib.contextmanager
def explain_load_errors(folder: Path) -> Iterator[None]:
    """Turns an exception of transformers about a broken checkpoint into a UserError."""
    broken = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)
    try:
        yield
    except (*broken, SafetensorError, StrictDataclassError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            str(folder),
            found=f"a checkpoint that does not load ({type(error).__name__}: {reason[:160]})",
            expected="a model and a tokenizer that transformers opens without remote code",
            do="download it again, or convert it with the transformers version of requirements.txt",
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint; {} where there is none.

    Raises:
        UserError: It holds no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        content = error
    if not isinstance(content, dict):
        raise UserError(
            str(path),
            found=f"{content!r:.120}",
            expected="a JSON object",
            do="download the checkpoint again",
        )
    return content


def write_model(model: Any, folder: Path, *, dtype: str, **config: Any) -> None:
    """Writes weights and config.json, with the keys of `config` added.

    Transformers 5 writes the base of rotary embeddings to `rope_parameters` only. Transformers 4 ignores that
    key and would use 10000. So `rope_theta` is written too; transformers 5 treats both keys as the same.

    Args:
        model: A model in float32.
        folder: An empty folder.
        dtype: The dtype of the stored weights: float32 or bfloat16.
        config: Additional keys of config.json.
    """
    if dtype == "float32":
        model.save_pretrained(folder)
    else:
        model.save_pretrained(folder, state_dict=_cast(model.state_dict(), getattr(torch, dtype)))
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"dtype": dtype}
    rope = content.get("rope_parameters") or {}
    rope_theta = rope.get("rope_theta")  # None if each layer type has its own
    content |= config if rope_theta is None else {"rope_theta": rope_theta, **config}
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _cast(tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The same weights in another dtype; weights that share memory still do."""
    cast_tensors: dict[int, Tensor] = {}
    return {
        name: cast_tensors.setdefault(tensor.data_ptr(), tensor.to(dtype))
        if tensor.is_floating_point()
        else tensor
        for name, tensor in tensors.items()
    }


def unchanged_fraction(first: Path, second: Path) -> float | None:
    """The fraction of the weights of the second checkpoint that are those of the first in its dtype.

    Weights that one of them lacks, or has in another shape, are left out; None if none is left.
    """
    places = [
        {name: path for path in folder.glob("*.safetensors") for name in _names(path)}
        for folder in (first, second)
    ]
    equal = total = 0
    for name in places[0].keys() & places[1].keys():
        tensors = []
        for place in places:
            with safe_open(place[name], framework="pt") as file:
                tensors.append(file.get_tensor(name))
        if tensors[0].shape == tensors[1].shape:
            equal += int((tensors[0].to(tensors[1].dtype) == tensors[1]).sum())
            total += tensors[0].numel()
    return equal / total if total else None


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A folder under a temporary name, renamed to its final name when it is complete.

    Raises:
        UserError: The disk is full, or the folder is not writable.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(
            str(folder),
            found=str(getattr(error, "strerror", None) or error)[:120],
            expected="to be able to write a checkpoint",
            do="check the free disk space and the permissions of the folder; the training itself is saved",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_checkpoint(
    model: Any,
    tokenizer: Any,
    folder: Path,
    card: str,
    save_extra: Callable[[Path], None] | None,
    *,
    dtype: str,
    **config: Any,
) -> None:
    """Saves a model, which computes in float32, with its tokenizer and model card, atomically.

    Args:
        folder: The folder to create or replace.
        save_extra: A function that writes additional files into the folder.
        dtype, config: See `write_model`.

    Raises:
        UserError: The disk is full, or the folder is not writable.
    """
    with atomic_folder(folder) as temporary:
        write_model(model, temporary, dtype=dtype, **config)
        tokenizer.save_pretrained(temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        if save_extra:
            save_extra(temporary)
