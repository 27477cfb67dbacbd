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
from apo.language.settings import TEXTS, Actor, Backbone, is_checkpoint
from apo.model.limits import check_lengths, check_positions
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
    for section in TEXTS:
        is_checkpoint(Path(sections[section].start), section=section)
    rm_lengths = {"model.max_length": sections["model"].max_length}
    for section in ("rm", "test_rm"):
        _check(sections[section].start, rm_lengths)
    llm_lengths = {}
    for part in ("rm", "llm", "test"):
        sampling = sections[f"sample.{part}"]
        name = f"sample.{part}.max_prompt_tokens + max_new_tokens"
        llm_lengths[name] = sampling.max_prompt_tokens + sampling.max_new_tokens
    llm_lengths |= {f"{name}.max_length": sections[name].max_length for name in ("align", "actor")}
    backbone, actor = sections["backbone"], sections["actor"]
    if actor.start != TEXTS["actor"]:
        del llm_lengths["actor.max_length"]
        _check(actor.start, llm_lengths)
        llm_lengths = {}
    if backbone.start == TEXTS["backbone"]:
        check_lengths(rm_lengths | llm_lengths, backbone.max_length, model="backbone.max_length")
    _check(backbone.start, rm_lengths | llm_lengths)


def _check(start: str, lengths: Mapping[str, int]) -> None:
    folder = Path(start)
    if folder.is_dir() and (folder / "config.json").is_file():
        check_positions(folder, lengths)


if __name__ == "__main__":
    try:
        check_params(Path("params.yaml"))
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
