"""Checks all of params.yaml before the first stage, which would read its own sections only.

python -m apo.check_params

Every section is read as its stage reads it. Lengths are compared with the positions of existing checkpoints.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apo.alignment.settings import Alignment
from apo.conversion import Convert
from apo.core.config import Section, check_rounds, read_section, read_seed
from apo.core.errors import UserError
from apo.datasets.settings import Data
from apo.evaluation.settings import Evaluate, EvaluateRM
from apo.golden.settings import Golden
from apo.judge.settings import Judge
from apo.language.settings import Actor, Backbone
from apo.model.limits import check_positions
from apo.model.settings import Model
from apo.report.settings import Report
from apo.reward.settings import Apo, RewardTraining, TestingRm
from apo.sampling.settings import Sampling
from apo.scoring.settings import Gate, Score
from apo.selection import Rjs
from apo.splits.settings import Split
from apo.training.settings import Common

SECTIONS: dict[str, type[Section]] = {
    "data": Data,
    "split": Split,
    "golden": Golden,
    "training": Common,
    "backbone": Backbone,
    "actor": Actor,
    "sample.rm": Sampling,
    "sample.llm": Sampling,
    "sample.test": Sampling,
    "convert": Convert,
    "model": Model,
    "rm": RewardTraining,
    "test_rm": TestingRm,
    "apo": Apo,
    "score": Score,
    "rjs": Rjs,
    "align": Alignment,
    "evaluate_rm": EvaluateRM,
    "gate": Gate,
    "evaluate": Evaluate,
    "judge": Judge,
    "report": Report,
}
DEFAULTS = dict.fromkeys(("backbone", "actor", "rm"), "training")
DEFAULTS |= dict.fromkeys(("sample.rm", "sample.llm", "sample.test"), "sample.common")
"""The section from which another one takes the values of the keys that it omits."""


def check_params(params: Path) -> None:
    """Reads every section and compares lengths with checkpoints.

    Raises:
        UserError: The first error.
    """
    check_rounds(params)
    read_seed(params)
    sections: dict[str, Any] = {
        name: read_section(params, name, kind, defaults=DEFAULTS.get(name, ""))
        for name, kind in SECTIONS.items()
    }
    lengths = {
        f"sample.{part}.max_prompt_tokens + max_new_tokens": sampling.max_prompt_tokens
        + sampling.max_new_tokens
        for part in ("rm", "llm", "test")
        for sampling in [sections[f"sample.{part}"]]
    }
    _check(sections["actor"].start, lengths | {"align.max_length": sections["align"].max_length})
    for start in (sections["backbone"].start, sections["rm"].start, sections["test_rm"].start):
        _check(start, {"model.max_length": sections["model"].max_length})


def _check(start: str, lengths: Mapping[str, int]) -> None:
    folder = Path(start)
    if folder.is_dir() and (folder / "config.json").is_file():
        check_positions(folder, lengths)


if __name__ == "__main__":
    try:
        check_params(Path("params.yaml"))
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
