"""Training state outside the outputs, so that a killed training goes on where it was.

DVC removes the outputs of a stage before it runs it. The state therefore lives in `.cache/` of the
repository, in a folder whose name is a hash of everything that the training computes from, and holds
tensors only (safetensors): weights, both moments of AdamW, the state of the random generator.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from apo.errors import UserError

SECONDS_BETWEEN = 30.0  # a state is saved when this much time has passed; it changes no result
CODE = Path(__file__).parent  # a state of other code is another training


def fingerprint(settings: Iterable[Any], files: Iterable[Path]) -> str:
    """A hash over settings (by their representation), the content of files and folders, and this code."""
    digest = hashlib.sha256()
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "tokenizers")]
    digest.update(repr([*versions, *settings]).encode())
    for path in [*files, CODE]:
        pattern = "*.py" if path == CODE else "*"
        members = sorted(p for p in path.rglob(pattern) if p.is_file()) if path.is_dir() else [path]
        for member in members:
            digest.update(str(member.relative_to(path)).encode() + b"\0")
            with member.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:24]


class Checkpoints:
    """The state of one training, saved now and then and found again by the same training.

    Args:
        name: The stage.
        key: `fingerprint` of what it computes from; another key is another training.
    """

    def __init__(self, name: str, key: str) -> None:
        root = Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / "training"
        self.folder = root / f"{name}-{key}"
        self._saved_at = time.monotonic()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator["Checkpoints"]:
        """Holds the training for this process.

        Raises:
            UserError: Another process runs the same training.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise UserError(
                str(self.folder),
                found="another process that runs this training",
                expected="one at a time",
                do="wait for it or end it: `pgrep -af stages.`",
            ) from None
        with lock:
            yield self

    def restore(self, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> list[dict[str, Any]]:
        """Puts the last saved state into model and optimisers; the curve so far, empty at the start."""
        path = self.folder / "state.safetensors"
        if not path.is_file():
            return []
        with safe_open(path, framework="pt") as state:
            curve: list[dict[str, Any]] = json.loads(state.metadata()["curve"])
            model.load_state_dict({n: state.get_tensor(f"model/{n}") for n in model.state_dict()})
            keys = [key.split("/") for key in state.keys() if key.startswith("optimiser/")]  # noqa: SIM118
            for optimiser in optimisers:
                owned = {id(p) for group in optimiser.param_groups for p in group["params"]}
                for name, parameter in model.named_parameters():
                    parts = [key[2] for key in keys if key[1] == name and id(parameter) in owned]
                    for part in parts:
                        value = state.get_tensor(f"optimiser/{name}/{part}").to(parameter.device)
                        optimiser.state[parameter][part] = value
            torch.set_rng_state(state.get_tensor("rng"))
        return curve

    def save_when_due(
        self,
        model: nn.Module,
        optimisers: Sequence[torch.optim.Optimizer],
        curve: list[dict[str, Any]],
        *,
        last: bool,
    ) -> None:
        """Saves when enough time has passed, and after the last step."""
        if not last and time.monotonic() - self._saved_at < SECONDS_BETWEEN:
            return
        tensors = {f"model/{n}": t.clone() for n, t in model.state_dict().items()}
        for optimiser in optimisers:
            for name, parameter in model.named_parameters():
                for part, value in optimiser.state.get(parameter, {}).items():
                    tensors[f"optimiser/{name}/{part}"] = torch.as_tensor(value).clone()
        tensors["rng"] = torch.get_rng_state()
        temporary = self.folder / "state.tmp"
        save_file(tensors, temporary, metadata={"curve": json.dumps(curve)})
        temporary.replace(self.folder / "state.safetensors")
        self._saved_at = time.monotonic()

    def remove_older(self) -> None:
        """Removes the states of other trainings of the same stage, all but the four newest."""
        name = self.folder.name.rsplit("-", 1)[0]
        others = sorted(self.folder.parent.glob(f"{name}-*"), key=lambda p: p.stat().st_mtime)
        for folder in others[:-4]:
            if folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)
