"""Checks all of params.yaml before the first stage, which would read its own sections only.

python -m apo.check_params

Every section is read as its stage reads it, and sections that contradict each other are an error. Lengths are
compared with the positions of existing checkpoints.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apo.alignment.settings import Alignment, read_align
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
    """Reads every section, compares them, and compares lengths with checkpoints.

    Raises:
        UserError: The first error.
    """
    rounds = check_rounds(params)
    read_seed(params)
    sections: dict[str, Any] = {
        name: read_section(params, name, kind, defaults=DEFAULTS.get(name, ""))
        for name, kind in SECTIONS.items()
    }
    for round in rounds:
        read_align(params, round)
    _compare(params, sections)
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


def _compare(params: Path, sections: Mapping[str, Any]) -> None:
    """What one stage would refuse, hours later, because of what another one was told to do."""
    drawn, compared = sections["sample.rm"].num_samples, sections["apo"].num_samples
    are_too_few = drawn < compared and sections["convert"].short_samples == "error"
    bins, gate = sections["evaluate_rm"].calibration_bins, sections["gate"].bins
    needs_extra = sections["rjs"].candidates == "samples_and_extra" and not sections["score"].extra_answers
    for is_wrong, key, found, expected in (
        (
            sections["sample.rm"].origin == "actor" and (drawn > compared or are_too_few),
            "sample.rm.num_samples",
            str(drawn),
            f"{compared}, as in apo.num_samples",
        ),
        (gate not in bins, "gate.bins", str(gate), f"one of evaluate_rm.calibration_bins, {bins}"),
        (
            needs_extra,
            "rjs.candidates",
            "samples_and_extra",
            "samples, or score.extra_answers: true, which gives the extra answers their rewards",
        ),
    ):
        if is_wrong:
            raise UserError(f"{params}: {key}", found=found, expected=expected, do="change one of the two")


def _check(start: str, lengths: Mapping[str, int]) -> None:
    folder = Path(start)
    if folder.is_dir() and (folder / "config.json").is_file():
        check_positions(folder, lengths)


if __name__ == "__main__":
    try:
        check_params(Path("params.yaml"))
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
