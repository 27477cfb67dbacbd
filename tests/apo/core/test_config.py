"""Parameters: every key of the committed file is known, needed and checked, and named in the message."""

import copy
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from ruamel.yaml import YAML

from apo.check_params import DEFAULTS, SECTIONS
from apo.core.config import check_rounds, read_count, read_section, read_seed
from apo.core.errors import UserError
from apo.reward.settings import Apo, RewardTraining
from apo.sampling.settings import Sampling

COMMITTED = Path(__file__).parents[3] / "params.yaml"
PARAMS = YAML(typ="safe").load(COMMITTED.read_text(encoding="utf-8"))


def _at(values: Any, name: str) -> Any:
    for key in name.split("."):
        values = values[key]
    return values


def _leaves(values: Any, name: str) -> Iterator[str]:
    """Dotted names of everything that is no section; a list is one value."""
    for key, value in values.items():
        yield from _leaves(value, f"{name}.{key}") if isinstance(value, dict) else [f"{name}.{key}"]


EXCEPTIONS = re.compile(r".*\.on_issue\.(?!default$).*")  # keys that may be absent
LEAVES = [(section, leaf) for section in SECTIONS for leaf in _leaves(_at(PARAMS, section), section)]
LEAVES += [("sample.rm", leaf) for leaf in _leaves(PARAMS["sample"]["common"], "sample.common")]


def read(params: Path, section: str) -> Any:
    """A section as its stage reads it."""
    return read_section(params, section, SECTIONS[section], defaults=DEFAULTS.get(section, ""))


def _write(folder: Path, leaf: str, value: Any, *others: str) -> Path:
    """The committed sections of a leaf and of others, with another value there, or without it (...)."""
    top, (parent, _, key) = leaf.split(".")[0], leaf.rpartition(".")
    params = copy.deepcopy({name: PARAMS[name] for name in {top, "training", *others}})
    if value is ...:
        del _at(params, parent)[key]
    else:
        _at(params, parent)[key] = value
    text = io.StringIO()
    YAML(typ="safe").dump(params, text)
    path = folder / "params.yaml"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def _refused(path: Path, section: str, name: str, found: str) -> str:
    """The message, which begins with the file and the dotted name."""
    with pytest.raises(UserError) as error:
        read(path, section)
    message = str(error.value)
    assert message.startswith(f"{path}: {name}: found {found}")
    assert "\n" not in message
    return message


def test_the_committed_file_is_read_in_every_section_and_has_no_other() -> None:
    for name in SECTIONS:
        common = _at(PARAMS, DEFAULTS[name]) if name in DEFAULTS else {}
        dumped = read(COMMITTED, name).model_dump(exclude_unset=True)
        assert dumped == common | _at(PARAMS, name), name
    assert read_seed(COMMITTED) == PARAMS["seed"]
    assert PARAMS.keys() == {"seed", "rounds", *(name.split(".")[0] for name in SECTIONS)}
    check_rounds(COMMITTED)
    assert PARAMS["align"]["lr"].keys() >= {one["id"] for one in PARAMS["rounds"]}
    assert PARAMS["sample"].keys() == {"common", "rm", "llm", "test"}


def test_what_a_section_leaves_out_it_has_from_its_defaults_and_nothing_twice() -> None:
    """A key with the value of the defaults says what is said already, but where a preset has two values."""
    of_presets = {"sample.test.max_new_tokens"}
    for name, defaults in DEFAULTS.items():
        common, own = _at(PARAMS, defaults), _at(PARAMS, name)
        assert common.keys() - own.keys()
        twice = {f"{name}.{key}" for key in common.keys() & own.keys() if common[key] == own[key]}
        assert twice <= of_presets


def test_the_committed_file_means_the_same_to_both_yaml_parsers() -> None:
    text = COMMITTED.read_text(encoding="utf-8")
    plain = pyyaml.safe_load(text)
    assert plain == PARAMS
    for section, leaf in LEAVES:
        assert type(_at(plain, leaf)) is type(_at(PARAMS, leaf)), (section, leaf)


def test_a_section_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_section(COMMITTED, "apo", Apo).coeff = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(("section", "leaf"), [one for one in LEAVES if not EXCEPTIONS.match(one[1])])
def test_a_missing_key_is_named_or_has_its_default(tmp_path: Path, section: str, leaf: str) -> None:
    path, key = _write(tmp_path, leaf, ...), leaf.rpartition(".")[2]
    common = _at(PARAMS, DEFAULTS[section]) if section in DEFAULTS and leaf == f"{section}.{key}" else {}
    if key in common:
        assert getattr(read(path, section), key) == common[key]
    elif leaf == f"{DEFAULTS.get(section)}.{key}":
        _refused(path, section, f"{section}.{key}", "no such key")
    elif not leaf.startswith("align.lr."):  # the round that has none is named by read_align
        _refused(path, section, leaf, "no such key")


@pytest.mark.parametrize(("section", "leaf"), LEAVES)
def test_an_unknown_key_beside_a_known_one_is_named(tmp_path: Path, section: str, leaf: str) -> None:
    """But for a round, which may have any name."""
    path, unknown = _write(tmp_path, f"{leaf}s_", 3), f"{leaf}s_"
    if leaf.startswith("align.lr."):
        assert unknown.rpartition(".")[2] in read(path, section).lr
        return
    message = _refused(path, section, unknown, "a parameter that nothing reads (3)")
    assert "correct its spelling" in message


@pytest.mark.parametrize(("section", "leaf"), LEAVES)
def test_a_value_of_another_type_is_named(tmp_path: Path, section: str, leaf: str) -> None:
    own = _at(PARAMS, leaf)
    wrong: list[Any] = [None, {"a": 1}]
    wrong += [7, True] if isinstance(own, str) else ["text"]
    if not isinstance(own, bool):
        wrong.append(True)
    if not isinstance(own, list):
        wrong.append([own])
    if isinstance(own, int):
        wrong.append(0.5)
    for value in wrong:
        _refused(_write(tmp_path, leaf, value), section, leaf, repr(value)[:60])


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
        ("gate.bins", 0, "greater than or equal to 1"),
        ("align.lr.r1", 0.0, "greater than 0"),
        ("align.lr.r2", float("inf"), "finite"),
        ("score.extra_answers", "yes", "boolean"),
        ("score.extra_answers", 1, "boolean"),
        ("rjs.candidates", "all", "'samples' or 'samples_and_extra'"),
        ("evaluate.bootstrap", 10, "greater than or equal to 100"),
    ],
)
def test_an_impossible_value_is_refused(tmp_path: Path, leaf: str, value: Any, expected: str) -> None:
    section = next(section for section, other in LEAVES if other == leaf)
    message = _refused(_write(tmp_path, leaf, value), section, leaf, repr(value)[:60])
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
def test_an_item_of_a_list_is_named_by_its_place(tmp_path: Path, leaf: str, value: Any, name: str) -> None:
    section = leaf.split(".")[0]
    _refused(_write(tmp_path, leaf, value), section, name, "")


@pytest.mark.parametrize(("written", "number"), [("1e-6", 1e-6), ("1.0e-6", 1e-6), ("3e-06", 3e-6), ("1", 1)])
def test_a_number_is_read_as_dvc_reads_it(tmp_path: Path, written: str, number: float) -> None:
    path = tmp_path / "params.yaml"
    lines = [f"{key}: {value}" for key, value in PARAMS["apo"].items() if key != "coeff"]
    path.write_text("apo:\n  " + "\n  ".join([*lines, f"coeff: {written}"]) + "\n")
    assert read_section(path, "apo", Apo).coeff == number


@pytest.mark.parametrize("written", ["1e-6", "3e-06", "1.0e-6", "a lot"])
def test_a_number_in_quotes_gets_the_hint(tmp_path: Path, written: str) -> None:
    message = _refused(_write(tmp_path, "rm.lr", written), "rm", "rm.lr", repr(written))
    assert message.endswith("write small numbers with a point, 1.0e-6 and not 1e-6")


@pytest.mark.parametrize("value", ["-1", "2147483648", "true", "1.5", "'1'", "[1]", "null", ".nan"])
def test_a_seed_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"seed: {value}\n")
    with pytest.raises(UserError, match=r"params\.yaml: seed: found .*expected a whole number from 0"):
        read_seed(path)


@pytest.mark.parametrize("value", ["0", "-1", "true", "1.5", "4.0", "'4'", "null"])
def test_a_count_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"apo: {{num_samples: {value}}}\n")
    with pytest.raises(UserError, match=r"params\.yaml: apo\.num_samples: found .*`num_samples: 4`"):
        read_count(path, "apo.num_samples")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"params\.yaml: apo: found no such key"),
        (b"seed: 1\n", r"params\.yaml: apo: found no such key"),
        (b"- apo\n", r"params\.yaml: apo: found no such key"),
        (b"apo:\n", r"params\.yaml: apo: found None; expected a section with keys"),
        (b"apo: 3\n", r"params\.yaml: apo: found 3; expected a section"),
        (b"apo:\n\tcoeff: 1\n", r"params\.yaml: found .*; expected YAML"),
        (b"apo: {coeff: 1, coeff: 2}\n", r"params\.yaml: found .*duplicate key.*; expected YAML"),
        (b"apo: [1\n", r"params\.yaml: found .*; expected YAML"),
        (b"apo: '\xff\xfe'\n", r"params\.yaml: found .*; expected YAML"),
        (b"apo: !!python/object:os.system {}\n", r"params\.yaml: found .*; expected YAML"),
    ],
)
def test_a_file_without_the_section_is_told_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_section(path, "apo", Apo)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_a_folder_says_where_to_run(tmp_path: Path) -> None:
    for path in (tmp_path / "params.yaml", tmp_path):
        with pytest.raises(UserError, match="run from the repository root"):
            read_section(path, "apo", Apo)


def test_a_part_that_params_do_not_have_is_named() -> None:
    with pytest.raises(UserError, match=r"params\.yaml: sample\.valid: found no such key"):
        read_section(COMMITTED, "sample.valid", Sampling)


# Rounds --------------------------------------------------------------------------------------------


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
def test_rounds_that_do_not_chain_are_told(tmp_path: Path, rounds: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(f"rounds: {rounds}\n")
    with pytest.raises(UserError, match=message):
        check_rounds(tmp_path / "params.yaml")


def test_rounds_that_chain_are_any_names(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("rounds: [{id: one, prev: r0}, {id: two-b, prev: one}]\n")
    check_rounds(tmp_path / "params.yaml")


# A section with the values of another one for what it leaves out ------------------------------------


def test_defaults_that_are_no_section_are_told(tmp_path: Path) -> None:
    path = _write(tmp_path, "rm.lr", 0.1)
    path.write_text(path.read_text(encoding="utf-8").replace("training:", "other:") + "training: 3\n")
    with pytest.raises(UserError, match=r"params\.yaml: training: found 3; expected a section with keys"):
        read(path, "rm")
    with pytest.raises(UserError, match=r"params\.yaml: shared: found no such key"):
        read_section(path, "rm", RewardTraining, defaults="shared")


def test_a_wrong_value_is_named_where_it_stands(tmp_path: Path) -> None:
    """In the section itself, or in the one that it has it from."""
    _refused(_write(tmp_path, "training.beta2", 1.5, "rm"), "rm", "training.beta2", "1.5")
    _refused(_write(tmp_path, "rm.beta2", 1.5), "rm", "rm.beta2", "1.5")
    assert (
        read(_write(tmp_path, "training.beta2", 1.5, "backbone"), "backbone").beta2
        == PARAMS["backbone"]["beta2"]
    )
