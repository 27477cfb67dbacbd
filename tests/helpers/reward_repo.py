"""Comparisons and parameters for the training of a small reward model."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT

PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
COMPARISONS = [
    {"query": tiny.query("What is 1 plus 2?"), "responses": ["3", "4"], "scores": [1.0, 0.0]},
    {"query": tiny.query("What is 2 plus 2?"), "responses": ["5", "4, my friend."], "scores": [0.0, 1.0]},
    {"query": tiny.query("What is 5 plus 4?"), "responses": ["9", "8", "no"], "scores": [2.0, 1.0, 1.0]},
    {"query": tiny.query("What is 5 plus 5?"), "responses": ["9", "8"], "scores": [1.0, 1.0]},  # no pair
]

GOLDEN = {"query": tiny.query("Who?"), "responses": ["A friend.", "me", "you"], "scores": [1.0, 0.0, 0.0]}


def set_params(**rm: Any) -> None:
    """Writes params.yaml with other values in its section `rm`."""
    content = {"seed": 1, "model": PARAMS["model"] | {"max_length": 64}, "training": PARAMS["training"]}
    content |= {"test_rm": PARAMS["test_rm"]}
    content |= {"rm": PARAMS["rm"] | {"warmup_steps": 0} | rm, "apo": PARAMS["apo"] | {"num_samples": 2}}
    Path("params.yaml").write_text(json.dumps(content))
