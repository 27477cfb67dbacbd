"""A model and a data set of a hub, and a preset that pins them."""

import gzip
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.fetch import MANIFEST, fetch
from tests.helpers.fake_hub import COMMIT, Hub

MODEL = {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "README.md": b"---\nlicense: mit\n---\n",
    "config.json": b'{"model_type": "llama"}\n',
    "merges.txt": b"#version: 0.2\n",
    "model.safetensors": bytes(range(256)) * 40,
    "tokenizer.json": b"{}" * 600,
}

PICKLES = {"pytorch_model.bin": b"x" * 2000, "onnx/config.json": b"{}", "modeling.py": b"import os\n"}


def dialogues(number: int, name: str) -> bytes:
    rows = [
        {side: f"\n\nHuman: {name} {n}?\n\nAssistant: {side} {n}" for side in ("chosen", "rejected")}
        for n in range(number)
    ]
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


DATA = {
    "README.md": b"---\nlicense: mit\n---\n# Comparisons\n",
    "harmless-base/train.jsonl.gz": dialogues(30, "harmless"),
    "harmless-base/test.jsonl.gz": dialogues(3, "harmless test"),
    "helpful-base/train.jsonl.gz": dialogues(20, "helpful"),
    "helpful-base/test.jsonl.gz": dialogues(2, "helpful test"),
    "helpful-online/train.jsonl.gz": dialogues(1, "online"),
    "red-team-attempts/attempts.jsonl.gz": dialogues(1, "attempt"),
    "load.py": b"import os\n",
}

MODEL_ENTRY = {"repo": "owner/small", "type": "model", "revision": COMMIT, "licence": "MIT"} | {
    "to": "pretrained/small"
}

DATA_ENTRY = {"repo": "owner/pairs", "type": "dataset", "revision": COMMIT, "licence": "MIT"} | {
    "to": "data/input/pairs",
    "folders": ["harmless-base", "helpful-base"],
}


def preset(root: Path, *entries: dict[str, Any]) -> Path:
    folder = root / "presets"
    folder.mkdir(exist_ok=True)
    with (folder / "mine.yaml").open("w") as file:
        YAML().dump({"seed": 2, "fetch": list(entries)}, file)
    return folder


def play(root: Path, hub: Hub, *entries: dict[str, Any]) -> list[str]:
    return list(fetch("mine", presets=preset(root, *entries), root=root, endpoint=hub.endpoint))


def contents(folder: Path) -> dict[str, bytes]:
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in paths.items() if name != MANIFEST}


def visible(root: Path) -> list[str]:
    """What is there of models and data, but for what is half-fetched."""
    folders = [*(root / "pretrained").glob("*"), *(root / "data" / "input").glob("*")]
    return [path.relative_to(root).as_posix() for path in folders if path.suffix != ".tmp"]


TAKEN = {name: content for name, content in MODEL.items() if name != ".gitattributes"}
