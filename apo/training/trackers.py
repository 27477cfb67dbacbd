"""A training shown live by the trackers that accelerate knows. No output depends on them.

docs/where.md describes APO_LOG_WITH, which names them, and APO_LOG_DIR, the folder of their files.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apo.core import distributed
from apo.core.errors import UserError
from apo.core.records import write_json
from apo.training.settings import Optimizer

Log = Callable[[Mapping[str, float], int, float], None]
"""A function (row of the curve, tokens of the step, its seconds) -> None."""


def requested() -> list[str]:
    """The names in APO_LOG_WITH, in order, each once.

    Raises:
        UserError: A name is unknown, its package is not installed, or APO_LOG_DIR may be part of an output.
    """
    words = (word.strip() for word in os.environ.get("APO_LOG_WITH", "").split(","))
    names = list(dict.fromkeys(word for word in words if word))
    if not names:
        return []
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, LoggerType, get_available_trackers

    installed = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UserError(
                "APO_LOG_WITH",
                found=repr(name),
                expected=f"one or several of {', '.join(LOGGER_TYPE_TO_CLASS)}, separated by commas",
                do="fix it, or unset it",
            )
        if name in map(str, LoggerType) and name not in installed:
            raise UserError(
                "APO_LOG_WITH",
                found=f"{name!r}, which is not installed",
                expected="a tracker that is installed in the environment of the pipeline",
                do=f"run `pip install {name}` there, or unset it",
            )
    log_folder()
    return names


def log_folder() -> Path:
    """The folder of the files that trackers write.

    Raises:
        UserError: It lies in the repository, where outputs are, and not in its `.cache`.
    """
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    cache = (root / ".cache").resolve()
    folder = Path(os.environ.get("APO_LOG_DIR") or cache / "trackers").resolve()
    if folder.is_relative_to(root) and not folder.is_relative_to(cache):
        raise UserError(
            "APO_LOG_DIR",
            found=str(folder),
            expected=f"a folder in {cache} or outside of {root}, where no output is",
            do="name another folder, or unset it",
        )
    return folder


@contextlib.contextmanager
def live(names: Sequence[str], desc: str, settings: Optimizer, steps: range, *, state: Path) -> Iterator[Log]:
    """Starts the trackers of a training in rank 0 and finishes them, also after an error.

    Args:
        names: See `requested`.
        settings: Recorded with a new run.
        steps: The steps that are left. A training that begins with step 0 gets a new run.
        state: The folder of the training's checkpoint, which keeps the run of each tracker.

    Yields:
        The function that logs a step.
    """
    if not names or not steps or not distributed.is_main_process():
        yield lambda row, tokens, seconds: None
        return
    name, _, key = state.name.rpartition("-")
    run = f"{name}-{key[:8]}-{time.strftime('%Y%m%d-%H%M%S')}"
    trackers = [_Tracker(name, desc, run, state=state, done=steps.start) for name in names]
    for tracker in trackers:
        tracker.start(vars(settings))

    def log(row: Mapping[str, float], tokens: int, seconds: float) -> None:
        values = {name: value for name, value in row.items() if name != "step"}
        for tracker in trackers:
            tracker.log(values | {"tokens_per_second": tokens / seconds}, int(row["step"]))

    try:
        yield log
    finally:
        for tracker in trackers:
            tracker.finish()


class _Tracker:
    """One tracker in one training. After its first error it is silent, and the training goes on."""

    def __init__(self, name: str, desc: str, run: str, *, state: Path, done: int) -> None:
        self._name, self._desc, self._path = name, desc, state / f"{name}.json"
        self._run: dict[str, Any] = {"run": run, "step": done}
        self._resumes, self._failed = False, False
        if done:
            with contextlib.suppress(OSError, ValueError):
                self._run, self._resumes = json.loads(self._path.read_text(encoding="utf-8")), True
        self._tracker: Any = None

    def start(self, settings: Mapping[str, Any]) -> None:
        self._try(lambda: self._start(settings))

    def log(self, values: dict[str, float], step: int) -> None:
        """Logs a step that the run does not have: a resumed training repeats those after its checkpoint."""
        if step > self._run["step"]:
            self._try(lambda: self._log(values, step))

    def finish(self) -> None:
        self._try(lambda: self._tracker.finish())

    def _start(self, settings: Mapping[str, Any]) -> None:
        from accelerate import tracking

        # The logger of accelerate needs its PartialState, which may set threads and devices, and so do calls
        # that go to "the main process" alone. This is the main process: both can do without.
        tracking.logger.log = tracking.logger.logger.log
        folder = log_folder() / self._name
        folder.mkdir(parents=True, exist_ok=True)
        run = self._run["run"]
        arguments, options = _arguments(self._name, self._run, folder, resumes=self._resumes)
        self._tracker = tracking.LOGGER_TYPE_TO_CLASS[self._name](*arguments, **options)
        self._tracker.main_process_only = False
        self._tracker.start()
        if self._name == "mlflow":
            self._run["id"] = self._tracker.tracker.info.run_id
        if not self._resumes:
            self._tracker.store_init_configuration(
                {key: value for key, value in settings.items() if isinstance(value, (int, float, str))}
            )
        self._say(f"{self._name} logs run {run}, files in {folder}")

    def _log(self, values: dict[str, float], step: int) -> None:
        self._tracker.log(values, step=step)
        self._run["step"] = step
        write_json(self._path, self._run)

    def _try(self, call: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - of any library
            self._failed = True
            text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self._say(f"{self._name} stops logging: {text}; the training goes on")

    def _say(self, text: str) -> None:
        tqdm.write(f"{self._desc}: {text}", file=sys.stderr)


def _arguments(
    name: str, run: Mapping[str, Any], folder: Path, *, resumes: bool
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a tracker's class in accelerate; the first is the project or the run."""
    project, own = os.environ.get(f"{name.upper()}_PROJECT", "apo"), run["run"]
    match name:
        case "wandb":
            return [project], {"id": own, "name": own, "dir": str(folder), "resume": "allow"}
        case "trackio":
            os.environ.setdefault("TRACKIO_DIR", str(folder))
            return [project], {"name": own, "resume": "allow"}
        case "mlflow":
            local = {} if "MLFLOW_TRACKING_URI" in os.environ else {"logging_dir": str(folder)}
            os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
            return [project], {"run_name": own, "run_id": run.get("id"), **local}
        case "dvclive":  # it may not touch dvc.yaml, nor save experiments
            options = {"dir": str(folder / own), "resume": resumes, "dvcyaml": False, "save_dvc_exp": False}
            return [own], options
        case "comet_ml":
            return [project], {}
        case "clearml":
            return [project], {"task_name": own}
        case "swanlab":
            return [project], {"experiment_name": own, "logdir": str(folder)}
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    return [own, *([folder] if LOGGER_TYPE_TO_CLASS[name].requires_logging_directory else [])], {}
