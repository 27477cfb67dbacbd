"""Where a result came from: a small JSON file beside it, which `apo.stage` writes when a stage has ended.

It holds the SHA-256 of every input, output and module, the parameters that were read, the versions of the
libraries that were loaded, the kind of device and the number of threads, and the commit of what came from a
hub; no time, no host, no folder of the machine: the same run gives the same bytes everywhere.
`python -m apo.lineage` reads it.
"""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from apo.config import parameters_read
from apo.errors import UserError
from apo.records import Row, write_json

SUFFIX = ".provenance.json"
OUTPUTS = ("out", "curves", "metrics")  # parameters of `main` that name what a stage writes
ROOT = Path(__file__).resolve().parents[1]
CODE = (".py", ".html", ".css", ".js")  # a module, and what stands beside it under its name
# Import names of the libraries in requirements.txt, with the name of their package where it is another.
LIBRARIES = {
    **{
        name: name
        for name in (
            *(
                "accelerate",
                "datasets",
                "deepspeed",
                "dvc",
                "huggingface_hub",
                "jaxtyping",
                "numpy",
                "pandas",
                "peft",
            ),
            *("pyarrow", "pydantic", "requests", "ruamel.yaml", "safetensors", "scipy", "sentencepiece"),
            *("tokenizers", "torch", "tqdm", "transformers", "vllm"),
        )
    },
    "google.protobuf": "protobuf",
    "vl_convert": "vl-convert-python",
    "yaml": "pyyaml",
}


def beside(out: Path) -> Path:
    """Where the provenance of an output stands: `models/rm.provenance.json` for the folder `models/rm`,
    `data/samples/rm.provenance.json` for the file `data/samples/rm.jsonl`."""
    return out.with_name((out.name if out.is_dir() else out.stem) + SUFFIX)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_of(path: Path) -> list[Path]:
    """The file itself, or all files below a folder but hidden ones and those that `.dvcignore` names."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    found = []
    for folder, folders, names in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
        found += [Path(folder, name) for name in names if name[0] != "." and not name.endswith(".tmp")]
    return sorted(found)


def relative(path: Path) -> str:
    """A path as it is written: relative to the working folder where it lies inside."""
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def project_code() -> dict[str, str]:
    """The SHA-256 of every module of the project; asked before a stage starts, it is what the stage runs.

    What stands beside a module under its name is a part of it. A package's file with nothing but a docstring
    is left out, as in dvc.yaml, and so is `stages/__init__.py`, since no result depends on how threads wait.
    """
    files = [path for name in ("apo", "stages") for path in files_of(ROOT / name) if path.suffix in CODE]
    files.remove(ROOT / "stages/__init__.py")
    code = [f for f in files if f.name != "__init__.py" or len(ast.parse(f.read_bytes()).body) > 1]
    return {file.relative_to(ROOT).as_posix(): sha256_of(file) for file in code}


def write_provenance(stage: str, arguments: Mapping[str, Path | str], code: Mapping[str, str]) -> None:
    """Writes the provenance of what a stage has just written, beside its `out`.

    Args:
        stage: Name of its script.
        arguments: What its `main` was called with. Every path but `out`, `curves`, `metrics` and `params`
            is an input, a file or a folder.
        code: `project_code()` of before it started, of which the modules that are loaded now are kept.
    """
    paths = {name: value for name, value in arguments.items() if isinstance(value, Path)}
    loaded = _loaded_code()
    parameters = parameters_read()
    machine = sys.modules.get("apo.machine")  # not imported here: it needs torch
    content = {
        "arguments": {n: relative(v) if isinstance(v, Path) else v for n, v in arguments.items()},
        "arithmetic": dict(machine.FIXED) if machine else {},
        "code": {name: digest for name, digest in code.items() if name.rpartition(".")[0] in loaded},
        "inputs": _hashes(path for name, path in paths.items() if name not in (*OUTPUTS, "params")),
        "libraries": {n: metadata.version(n) for module, n in LIBRARIES.items() if module in sys.modules},
        "outputs": _hashes(paths[name] for name in OUTPUTS if name in paths),
        "parameters": parameters,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "remote": remote_data(parameters),
        "stage": stage,
    }
    content["checksum"] = _checksum(content)
    write_json(beside(paths["out"]), _sorted(content))


def read_provenance(path: Path) -> Row:
    """The content of a provenance file, which is exactly as it was written.

    Raises:
        UserError: A byte of it is another.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        as_written = text == json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    except (OSError, ValueError, RecursionError):
        content, as_written = None, False
    if not isinstance(content, dict) or not as_written or content.get("checksum") != _checksum(content):
        raise UserError(
            str(path),
            found="a provenance file whose bytes do not match its checksum",
            expected="the file as the stage wrote it",
            do="run `dvc checkout`, or the stage again",
        )
    return content


def find_provenance(path: Path) -> Path:
    """The provenance file that lists a file, or what is in a folder.

    Raises:
        UserError: There is none beside it, nor beside a folder that it lies in.
    """
    if path.name.endswith(SUFFIX):
        return path
    places = [place for place in (path, *path.parents) if place.name]
    candidates = [place.with_name(name + SUFFIX) for place in places for name in (place.stem, place.name)]
    for candidate in filter(Path.is_file, candidates):
        listed = read_provenance(candidate)["outputs"]
        if any(f"{name}/".startswith(f"{path.as_posix()}/") for name in listed):
            return candidate
    raise UserError(
        str(path),
        found="no provenance beside it" if path.exists() else "no such file",
        expected="a checkpoint or a records file that a stage wrote, with its provenance",
        do="correct the name, or run `dvc repro`, which writes both",
    )


def _hashes(paths: Iterable[Path]) -> dict[str, str]:
    return {relative(file): sha256_of(file) for path in paths for file in files_of(path)}


def _loaded_code() -> set[str]:
    """The project's modules in this process, as paths relative to the repository without their ending."""
    own = [m for name, m in sys.modules.items() if name.split(".")[0] in ("__main__", "apo", "stages")]
    files = [Path(file).resolve() for module in own if (file := getattr(module, "__file__", None))]
    return {file.relative_to(ROOT).with_suffix("").as_posix() for file in files if file.is_relative_to(ROOT)}


def remote_data(parameters: Mapping[str, Any]) -> dict[str, str] | None:
    """The data set of a hub and its commit; a folder is an input like any other."""
    data = parameters.get("data", {})
    if data.get("source") != "hub" or Path(data["hub"]["path"]).is_dir():
        return None
    return {name: data["hub"][name] for name in ("path", "revision")}


def _checksum(content: Row) -> str:
    """Of all keys but its own."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _sorted(content: Row) -> Row:
    """Keys in order, at every depth."""
    ordered: Row = json.loads(json.dumps(content, sort_keys=True))
    return ordered
