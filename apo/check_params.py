"""Checks all of params.yaml before the first stage, which would read its own sections only.

python -m apo.check_params

Every section is read as its stage reads it, and sections that contradict each other are an error. Lengths are
compared with the positions of existing checkpoints.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from apo.alignment.settings import Alignment, read_align
from apo.conversion import Convert
from apo.core.config import Section, check_rounds, read_section, read_seed
from apo.core.errors import UserError
from apo.datasets.settings import Data
from apo.evaluation.settings import Evaluate, EvaluateRM
from apo.golden.settings import Golden
from apo.judge.pairs import select_pairs
from apo.judge.prompts import check_template
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
PARTS = ("rm", "llm", "test")
BACKBONE = "models/backbone"
Comparison = tuple[bool, str, str, str]
"""Whether two sections contradict each other; the key, what was found there and what was expected."""
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
    _compare(params, sections, rounds)
    for section in TEXTS:
        is_checkpoint(Path(sections[section].start), section=section)
    rm_lengths = {"model.max_length": sections["model"].max_length}
    for section in ("rm", "test_rm"):
        _check(sections[section].start, rm_lengths)
    llm_lengths = {}
    for part in PARTS:
        sampling = sections[f"sample.{part}"]
        name = f"sample.{part}.max_prompt_tokens + max_new_tokens"
        llm_lengths[name] = sampling.max_prompt_tokens + sampling.max_new_tokens
    llm_lengths |= {f"{name}.max_length": sections[name].max_length for name in ("align", "actor")}
    backbone, actor = sections["backbone"], sections["actor"]
    if (
        sections["data"].source != "demo"
        and actor.start != TEXTS["actor"]
        and backbone.start == TEXTS["backbone"]
    ):
        print(
            "note: backbone.start: all reward models start from a small Llama that is pretrained on the "
            "preferred responses of your comparisons; set it to a checkpoint if you have one",
            file=sys.stderr,
        )
    if actor.start != TEXTS["actor"]:
        del llm_lengths["actor.max_length"]
        _check(actor.start, llm_lengths)
        llm_lengths = {}
    if backbone.start == TEXTS["backbone"]:
        check_lengths(rm_lengths | llm_lengths, backbone.max_length, model="backbone.max_length")
    _check(backbone.start, rm_lengths | llm_lengths)


def _compare(params: Path, sections: Mapping[str, Any], rounds: Sequence[str]) -> None:
    """What one stage would refuse, hours later, because of what another one was told to do."""
    for is_wrong, key, found, expected in (
        *_sampling(sections, rounds),
        *_ratings(sections),
    ):
        if is_wrong:
            raise UserError(f"{params}: {key}", found=found, expected=expected, do="change one of the two")
    for section in ("rm", "test_rm"):
        start = sections[section].start
        if start != BACKBONE and not Path(start).is_dir():
            raise UserError(
                f"{params}: {section}.start",
                found=start,
                expected=f"{BACKBONE}, or a folder with a checkpoint",
                do="name one of them, or bring the checkpoint",
            )
    for part in PARTS:
        if sections[f"sample.{part}"].backend == "vllm":
            from apo.sampling.vllm_backend import check_vllm  # seconds

            check_vllm(sections[f"sample.{part}"])
    judge = sections["judge"]
    check_template(judge.prompt, source=f"{params}: judge.prompt")
    if judge.model:
        llms = [f"llm_{arm}_{round}" for round in rounds for arm in ("base", "apo")]
        select_pairs(["actor", *llms, "golden"], judge.pairs, source=f"{params}: judge.pairs")


def _sampling(sections: Mapping[str, Any], rounds: Sequence[str]) -> Iterator[Comparison]:
    """Of the samples of an RM and an LLM query."""
    rm, llm, apo = sections["sample.rm"], sections["sample.llm"], sections["apo"]
    are_too_few = rm.num_samples < apo.num_samples and sections["convert"].short_samples == "error"
    is_wrong = rm.origin == "actor" and (rm.num_samples > apo.num_samples or are_too_few)
    yield is_wrong, "sample.rm.num_samples", str(rm.num_samples), f"{apo.num_samples}, as in apo.num_samples"
    is_alone = llm.origin == "actor" and llm.num_samples == 1 and sections["rjs"].candidates == "samples"
    yield (
        is_alone,
        "sample.llm.num_samples",
        "1",
        "2 or more, with different rewards",
    )
    for part in ("rm", "llm"):
        is_late = sections[f"sample.{part}"].origin == "source" and len(rounds) > 1
        expected = "actor: from the second round on the source has no samples of the LLM; or one round"
        yield is_late, f"sample.{part}.origin", f"source, and {len(rounds)} rounds", expected


def _ratings(sections: Mapping[str, Any]) -> Iterator[Comparison]:
    """Of rewards, the choice by them, and the gate."""
    rjs, score, bins = sections["rjs"], sections["score"], sections["evaluate_rm"].calibration_bins
    gate = sections["gate"].bins
    yield gate not in bins, "gate.bins", str(gate), f"one of evaluate_rm.calibration_bins, {bins}"
    needs_extra = rjs.candidates == "samples_and_extra" and not score.extra_answers
    expected = "samples, or score.extra_answers: true, which gives the extra answers their rewards"
    yield needs_extra, "rjs.candidates", "samples_and_extra", expected
    has_no_rewards = rjs.rewards == "source" and sections["sample.llm"].origin == "actor"
    expected = "rm, or sample.llm.origin: source, whose samples bring rewards"
    yield has_no_rewards, "rjs.rewards", "source, and samples of the actor", expected
    pooling = sections["model"].pooling
    is_unknown = score.backend == "vllm" and pooling not in ("last", "eos")
    expected = "transformers, or model.pooling last or eos, which is what vLLM computes"
    yield is_unknown, "score.backend", f"vllm, and model.pooling: {pooling}", expected


def _check(start: str, lengths: Mapping[str, int]) -> None:
    folder = Path(start)
    if folder.is_dir() and (folder / "config.json").is_file():
        check_positions(folder, lengths)


if __name__ == "__main__":
    try:
        check_params(Path("params.yaml"))
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}")
