"""One round of the demo game on a GPU and on a CPU, in float32, for `python -m benchmarks.gpu`.

Both play the stages of dvc.yaml from `data` to `evaluate`, with fewer rows, each in one process and a folder
of its own: imports are paid once, and a GPU machine needs no DVC. Then the CPU computes the rewards of the
stages `score` and `score_base` again, with the samples and reward models of the GPU.

python -m benchmarks.gpu_round STAGE...   runs stages in the current folder, which has params.yaml
"""

import inspect
import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.records import read_rows
from benchmarks.data import PARAMS
from benchmarks.gpu_jobs import Bench, Result
from benchmarks.gpu_processes import ROOT, SECONDS, started, wait

TOLERANCE = 1e-3  # of a reward; rewards have a standard deviation of about 1
LAST = "evaluate"
ROUND, ARMS = {"id": "r1", "prev": "r0"}, ("base", "apo")
SCORED = ("score_base", "score")  # stages
STATE = "state"  # what a stage keeps to resume; one for each device, or the CPU would read the GPU's rewards
PLAYED = {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0", "APO_PRECISION": "float32", "DVC_ROOT": STATE}
ALONE = {"APO_DEEPSPEED": "", "APO_FSDP": "", "APO_LOG_WITH": "", "APO_GPUS": "", "APO_LAUNCH": ""}

# About a seventh of the demo's rows: a minute or two on two cores. An ECE on few comparisons is noise, so the
# gate is open.
SMALLER: dict[str, Any] = {
    "data": {
        "demo": {"comparisons": 2400, "test_comparisons": 1000, "documents": 1600, "demonstrations": 400},
    },
    "backbone": {"warmup_steps": 10},
    "actor": {"warmup_steps": 2},
    "rm": {"warmup_steps": 4},
    "sample": {"rm": {"max_queries": 300}, "llm": {"max_queries": 150}, "test": {"max_queries": 100}},
    "align": {"warmup_steps": 2},
    "gate": {"max_ece": 1.0},
    "evaluate_rm": {"bootstrap": 200},
    "evaluate": {"bootstrap": 200},
}
TINY: dict[str, Any] = {
    "data": {
        "demo": {"comparisons": 160, "test_comparisons": 40, "documents": 120, "demonstrations": 60},
    },
    "backbone": {"vocab_size": 512, "hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64},
    "sample": {"common": {"max_new_tokens": 8}, "test": {"max_new_tokens": 8}},
}


def changed(values: Any, changes: dict[str, Any]) -> Any:
    """The parameters with changes, in place.

    Raises:
        KeyError: A key of the changes is no parameter.
    """
    for key, value in changes.items():
        if key not in values:
            raise KeyError(key)
        values[key] = changed(values[key], value) if isinstance(value, dict) else value
    return values


def prepare(folder: Path, *, tiny: bool) -> Path:
    """Writes the parameters of a smaller game, and links what else the stages read; returns the folder."""
    (folder / "data" / "input").mkdir(parents=True)
    (folder / "data" / "chat_templates").symlink_to(ROOT / "data" / "chat_templates")
    yaml = YAML()
    params = changed(yaml.load(PARAMS.read_text(encoding="utf-8")), SMALLER)
    with (folder / "params.yaml").open("w", encoding="utf-8") as out:
        yaml.dump(changed(params, TINY) if tiny else params, out)
    return folder


def stages(params: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The name and the command of every stage instance up to `LAST`, in an order in which they can run."""
    declared = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in declared.items():
        for arm in ARMS if "arm" in stage.get("matrix", {}) else ARMS[:1]:
            yield name, shlex.split(filled(stage["cmd"], params | {"item": {"round": ROUND, "arm": arm}}))
        if name == LAST:
            return


def filled(template: str, values: dict[str, Any]) -> str:
    """The text with `${a.b}` replaced by `values["a"]["b"]`."""

    def value(match: re.Match[str]) -> str:
        found: Any = values
        for key in match[1].split("."):
            found = found[key]
        return str(found)

    return re.sub(r"\$\{([\w.]+)\}", value, template)


def run_stage(command: Sequence[str], **changes: Path) -> None:
    """Calls `main` of a stage as `apo.core.stage.run` does.

    Args:
        command: `python -m stages.NAME --option value`, or with `stages.distributed NAME`.
        changes: Options with another value than in the command.
    """
    words = [word for word in command[2:] if word != "stages.distributed"]
    main = import_module(f"stages.{words[0].removeprefix('stages.')}").main
    options = dict(zip((word.removeprefix("--") for word in words[1::2]), words[2::2], strict=True))
    parameters = inspect.signature(main).parameters
    main(**{n: v if parameters[n].annotation is str else Path(v) for n, v in (options | changes).items()})


def play(names: Sequence[str]) -> None:
    """Runs stages of these names, or all of them, in the current folder.

    With names, outputs and metrics go into the folder `again`.
    """
    params = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    for name, command in stages(params):
        start = time.perf_counter()
        if not names:
            run_stage(command)
        elif name in names:
            outputs = {key: Path("again") / f"{name}_{key}" for key in ("out", "metrics")}
            run_stage(command, **outputs)
        else:
            continue
        print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def accuracies(folder: Path) -> dict[str, float]:
    """The test accuracy of every reward model of a folder by its name in the metrics."""
    metrics = folder / "metrics"
    found: dict[str, float] = {}
    for path in sorted([*metrics.glob("evaluate_*_rm.json"), *metrics.glob("r1/evaluate_*_rm.json")]):
        for name, values in json.loads(path.read_text(encoding="utf-8")).items():
            found[name] = values["test"]["accuracy"]
    return found


def rewards(path: Path) -> list[float]:
    """All rewards of a file of scores in its order."""
    return [value for row in read_rows(path) for value in [*row["scores"], *row.get("extra", {}).values()]]


def wait_for_all(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Waits for processes that run beside each other.

    Raises:
        RuntimeError: One failed, or they ran longer than `SECONDS`.
    """
    end = time.monotonic() + SECONDS
    for process in processes:
        if code := wait(process, end - time.monotonic()):
            raise RuntimeError(f"a round of the demo game ended with code {code}")


def demo_round(bench: Bench) -> Result:
    """A round of the demo game on the device, beside one on the CPU.

    Returns:
        `largest_difference` of a reward, and the number of `rewards`; `accuracy`, of every reward model the
        test accuracies of the one trained on the device and of the one trained on the CPU; `round_seconds`,
        the time of both rounds beside each other.

    Raises:
        ValueError: A reward differs by more than `TOLERANCE`.
    """
    device = bench.device.type
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folders = [prepare(Path(name) / part, tiny=bench.tiny) for part in ("device", "cpu")]
        start = time.perf_counter()

        def begin(folder: Path, device: str, *names: str, state: str = STATE) -> subprocess.Popen[bytes]:
            environment = PLAYED | ALONE | {"APO_DEVICE": device, "DVC_ROOT": state}
            arguments = ["benchmarks.gpu_round", *names]
            process = started(arguments, environment=environment, cwd=folder, stdout=sys.stderr)
            return stack.enter_context(process)

        wait_for_all([begin(folders[0], device), begin(folders[1], "cpu")])
        seconds = time.perf_counter() - start
        wait_for_all([begin(folders[0], "cpu", *SCORED, state="state_cpu")])
        pairs: list[tuple[float, float]] = []
        for stage, arm in zip(SCORED, ARMS, strict=True):
            by_device = rewards(folders[0] / f"data/scores/r1/{arm}.jsonl")
            pairs += zip(by_device, rewards(folders[0] / f"again/{stage}_out"), strict=True)
        difference = max(abs(a - b) for a, b in pairs)
        if not difference <= TOLERANCE:
            raise ValueError(f"a reward differs by {difference:.2g} from that of the CPU, above {TOLERANCE}")
        on_device, on_cpu = map(accuracies, folders)
        accuracy = {model: [on_device[model], on_cpu[model]] for model in on_device}
        result = {"largest_difference": difference, "rewards": len(pairs), "round_seconds": seconds}
        return result | {"accuracy": accuracy}


if __name__ == "__main__":
    play(sys.argv[1:])
