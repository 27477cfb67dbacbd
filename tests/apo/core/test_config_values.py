"""apo/core/config.py: values that mean nothing are refused, and numbers are read as DVC reads them."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.config import check_rounds, read_count, read_section, read_seed
from apo.core.errors import UserError
from apo.reward.settings import Apo
from tests.helpers.params import LEAVES, PARAMS, params_with, refused


@pytest.mark.parametrize(
    ("leaf", "value", "expected"),
    [
        ("data.source", "csv", "'demo', 'files', 'hub' or 'authors'"),
        ("data.on_issue.no_preference", "keep", "such a row holds nothing that could be kept"),
        ("data.on_issue.turn_order", "skip", "'error', 'drop' or 'keep'"),
        ("data.demo.comparisons", 0, "greater than or equal to 1"),
        ("data.demo.temperature", 0.0, "greater than 0"),
        ("data.demo.temperature", float("nan"), "finite|greater than 0"),
        ("data.demo.golden_flaws", 1.1, "less than or equal to 1"),
        ("split.rm_fraction", 1.5, "less than 1"),
        ("split.rm_fraction", 1.0, "less than 1"),
        ("split.valid_fraction", -0.1, "greater than or equal to 0"),
        ("split.test_fraction", float("nan"), "greater than or equal to 0|less than 1"),
        ("split.near_duplicate", 0.0, "greater than 0"),
        ("split.near_duplicate", 1.01, "less than or equal to 1"),
        ("split.near_duplicate", float("nan"), "greater than 0|less than or equal to 1"),
        ("split.without_golden", "drop", "'error' or 'skip'"),
        ("backbone.vocab_size", 100, "greater than or equal to 300"),
        ("backbone.lr", -1.0e-3, "greater than 0"),
        ("training.schedule", "cosin", "'linear', 'cosine' or 'constant'"),
        ("actor.warmup_steps", -1, "greater than or equal to 0"),
        ("sample.rm.num_samples", 0, "greater than or equal to 1"),
        ("sample.common.top_p", 0.0, "greater than 0"),
        ("sample.common.top_p", 1.01, "less than or equal to 1"),
        ("sample.test.top_p", float("nan"), "greater than 0|less than or equal to 1"),
        ("sample.common.top_k", -1, "greater than or equal to 0"),
        ("sample.test.temperature", 0, "greater than 0"),
        ("sample.test.temperature", float("inf"), "finite"),
        ("convert.pick", "best", "'all' or 'one'"),
        ("model.pooling", "mean", "'last', 'eos', 'average' or 'max'"),
        ("model.max_length", 4, "greater than or equal to 8"),
        ("rm.lr", 0.0, "greater than 0"),
        ("rm.lr", float("nan"), "finite|greater than 0"),
        ("rm.epochs", 1.5, "integer"),
        ("training.weight_decay", -0.1, "greater than or equal to 0"),
        ("evaluate_rm.calibration_bins", [], "at least 1 item"),
        ("apo.coeff", -0.1, "greater than or equal to 0"),
        ("apo.coeff", float("inf"), "finite"),
        ("apo.kl_coeff", float("nan"), "finite|greater than or equal to 0"),
        ("apo.loss", "hinge", "'ranking' or 'wgan'"),
        ("apo.init_from", "rm_base", "'backbone', 'base_rm' or 'previous'"),
        ("rm.lora.rank", -1, "greater than or equal to 0"),
        ("rm.lora.alpha", 0.0, "greater than 0"),
        ("align.lora.rank", -8, "greater than or equal to 0"),
        ("evaluate_rm.bootstrap", 99, "greater than or equal to 100"),
        ("gate.max_ece", 1.01, "less than or equal to 1"),
        ("gate.max_ece", -0.1, "greater than or equal to 0"),
        ("gate.max_ece", float("nan"), "greater than or equal to 0|less than or equal to 1"),
        ("gate.bins", 0, "greater than or equal to 2"),
        ("gate.bins", 5, "a multiple of 2"),
        ("align.lr.r1", 0.0, "greater than 0"),
        ("align.lr.r2", float("inf"), "finite"),
        ("score.extra_answers", "yes", "boolean"),
        ("score.extra_answers", 1, "boolean"),
        ("rjs.candidates", "all", "'samples' or 'samples_and_extra'"),
        ("evaluate.bootstrap", 10, "greater than or equal to 100"),
    ],
)
def test_read_section_refuses_an_impossible_value(
    tmp_path: Path, leaf: str, value: Any, expected: str
) -> None:
    section = next(section for section, other in LEAVES if other == leaf)
    message = refused(params_with(tmp_path, leaf, value), section, leaf, repr(value)[:60])
    assert any(f"expected {part}" in message or part in message for part in expected.split("|")), message


@pytest.mark.parametrize(
    ("leaf", "value", "name"),
    [
        ("data.files.rm", [3], "data.files.rm.0"),
        ("data.files.rm", ["a.jsonl", None], "data.files.rm.1"),
        ("evaluate_rm.calibration_bins", [10, 0], "evaluate_rm.calibration_bins.1"),
        ("evaluate_rm.calibration_bins", [10, True], "evaluate_rm.calibration_bins.1"),
    ],
)
def test_read_section_names_an_item_of_a_list_by_its_index(
    tmp_path: Path, leaf: str, value: Any, name: str
) -> None:
    section = leaf.split(".")[0]
    refused(params_with(tmp_path, leaf, value), section, name, "")


@pytest.mark.parametrize(("written", "number"), [("1e-6", 1e-6), ("1.0e-6", 1e-6), ("3e-06", 3e-6), ("1", 1)])
def test_read_section_reads_a_number_as_dvc_does(tmp_path: Path, written: str, number: float) -> None:
    path = tmp_path / "params.yaml"
    lines = [f"{key}: {value}" for key, value in PARAMS["apo"].items() if key != "coeff"]
    path.write_text("apo:\n  " + "\n  ".join([*lines, f"coeff: {written}"]) + "\n")
    assert read_section(path, "apo", Apo).coeff == number


@pytest.mark.parametrize("written", ["1e-6", "3e-06", "1.0e-6", "a lot"])
def test_read_section_explains_a_number_in_quotes(tmp_path: Path, written: str) -> None:
    message = refused(params_with(tmp_path, "rm.lr", written), "rm", "rm.lr", repr(written))
    assert message.endswith("write it as a number, without quotes: 1.0e-6")


@pytest.mark.parametrize("value", ["-1", "2147483648", "true", "1.5", "'1'", "[1]", "null", ".nan"])
def test_read_seed_refuses_what_is_no_seed(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"seed: {value}\n")
    with pytest.raises(UserError, match=r"params\.yaml: seed: found .*expected a whole number from 0"):
        read_seed(path)


@pytest.mark.parametrize("value", ["0", "-1", "true", "1.5", "4.0", "'4'", "null"])
def test_read_count_refuses_what_is_no_count(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"apo: {{num_samples: {value}}}\n")
    with pytest.raises(UserError, match=r"params\.yaml: apo\.num_samples: found .*`num_samples: 4`"):
        read_count(path, "apo.num_samples")


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ("[]", r"rounds: found \[\]; expected a list with at least one round"),
        ("r1", "rounds: found 'r1'; expected a list"),
        ("[r1]", r"rounds\[0\]: found 'r1'"),
        ("[{id: r1}]", r"rounds\[0\].prev: found no such key"),
        ("[{id: r1, prev: r0, lr: 0.1}]", r"rounds\[0\].lr: found a parameter that nothing reads"),
        ("[{id: r2, prev: r1}]", r"rounds\[0\]: found round 'r2' after 'r1'; expected a new id after 'r0'"),
        (
            "[{id: r1, prev: r0}, {id: r3, prev: r2}]",
            r"rounds\[1\]: found round 'r3' after 'r2'; .* after 'r1'",
        ),
        ("[{id: r1, prev: r0}, {id: r1, prev: r1}]", r"rounds\[1\]: found round 'r1' after 'r1'"),
        ("[{id: r0, prev: r0}]", r"rounds\[0\]: found round 'r0'"),
        ("[{id: a/b, prev: r0}]", r"rounds\[0\].id: found 'a/b'"),
        ("[{id: 1, prev: r0}]", r"rounds\[0\].id: found 1"),
    ],
)
def test_check_rounds_refuses_rounds_that_do_not_chain(tmp_path: Path, rounds: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(f"rounds: {rounds}\n")
    with pytest.raises(UserError, match=message):
        check_rounds(tmp_path / "params.yaml")


def test_check_rounds_takes_any_names(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("rounds: [{id: one, prev: r0}, {id: two-b, prev: one}]\n")
    check_rounds(tmp_path / "params.yaml")
