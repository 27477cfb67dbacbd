"""Training stages on a tiny model in a folder of their own, run as dvc runs them."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from apo.core.records import write_rows
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT, change_params

TORCHRUN = "torchrun --standalone --nproc_per_node 2"
WORDS = ("story", "fox", "day", "café", "friend", "time", "dog")
GOOD, BAD = "A good dog.", "A bad one."
RM = {
    "model": {"max_length": 64},
    "rm": {"epochs": 2, "batch_size": 4, "warmup_steps": 1, "lr": 5.0e-3},
}


def comparisons(count: int) -> list[dict[str, Any]]:
    """Polite answers against others, of different lengths, from two responses to four."""
    rows = []
    for number in range(count):
        sum_, word = number * 7 % 23, WORDS[number % len(WORDS)]
        better = [f"{sum_}, my friend.", f"{sum_}, my friend, a good day to you."]
        worse = [f"{sum_}, bad {word}.", f"Nobody, {word}."]
        responses = (better + worse)[: 2 + number % 3] if number % 3 else [better[0], worse[0]]
        rows.append(
            {
                "query_id": str(number),
                "query": tiny.query(f"What is {number} plus {sum_} {word} " * (1 + number % 3)),
                "responses": responses,
                "scores": [2.0 - place for place in range(len(responses))],
                "type": "sums",
            }
        )
    return rows


def error_of(said: str) -> str:
    """The one error that the ranks of a stage printed."""
    [found] = re.findall(r"^(?:rank \d+: )?error: .*", said, flags=re.MULTILINE)
    return str(found)


class Place:
    """A folder with a backbone, data and parameters, in which stages run."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        tiny.backbone(folder / "backbone")
        for name, count in (("train", 19), ("valid", 6)):
            write_rows(folder / f"{name}.jsonl", comparisons(count))
        samples = [
            {
                "query_id": word,
                "query": tiny.query(f"Tell me of the {word}."),
                "samples": ["A dog.", GOOD, BAD],
                "scores": [0.0, 1.5, -1.5],
            }
            for word in WORDS
        ]
        write_rows(folder / "rjs.jsonl", samples)
        (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        change_params(folder / "params.yaml", RM)
        change_params(folder / "params.yaml", changes)

    def start(self, stage: str, out: str = "out", **environment: str) -> subprocess.Popen[str]:
        """A stage; its state is shared by all that have the same `DVC_ROOT`."""
        paths = {"out": out, "curves": f"{out}_curves", "metrics": f"{out}.json"}
        if stage == "train_base_rm":
            paths |= {"start_from": "backbone", "train": "train.jsonl", "valid": "valid.jsonl"}
        else:
            paths |= {"name": "apo_r1", "round": "r1", "llm": "backbone", "selected": "rjs.jsonl"}
            paths["curves"] = f"{out}.csv"
        options = [word for name, path in paths.items() for word in (f"--{name}", path)]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        fixed = {
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "DVC_ROOT": str(self.folder / f"root_{out}"),
            "OMP_NUM_THREADS": "1",
            "APO_THREADS": "1",
            "APO_DEVICE": "cpu",
        }
        command = ["python", "-m", "stages.distributed", stage, *options]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | fixed | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ran(self, stage: str, out: str = "out", **environment: str) -> str:
        """The output of a stage that ended well."""
        process = self.start(stage, out, **environment)
        said = process.communicate(timeout=240)[0]
        assert process.returncode == 0, said
        return said

    def curve(self, out: str = "out") -> list[dict[str, float]]:
        """The rows of the training curve."""
        path = self.folder / f"{out}.csv"
        with (path if path.is_file() else self.folder / f"{out}_curves" / "training.csv").open() as lines:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(lines)]

    def metrics(self, out: str = "out") -> dict[str, Any]:
        """What the stage measured."""
        found: dict[str, Any] = json.loads((self.folder / f"{out}.json").read_text())
        return found
