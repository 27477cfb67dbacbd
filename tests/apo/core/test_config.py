"""apo/core/config.py: every key of the committed file is known, needed, checked and named."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml

from apo.check_params import DEFAULTS, SECTIONS
from apo.core.config import check_rounds, read_section, read_seed
from apo.core.errors import UserError
from apo.reward.settings import Apo, RewardTraining
from apo.sampling.settings import Sampling
from tests.helpers.params import COMMITTED, LEAVES, PARAMS, at, params_with, read, refused

EXCEPTIONS = re.compile(r".*\.on_issue\.(?!default$).*")  # keys that may be absent


def test_params_yaml_has_the_known_sections_and_no_other() -> None:
    for name in SECTIONS:
        common = at(PARAMS, DEFAULTS[name]) if name in DEFAULTS else {}
        dumped = read(COMMITTED, name).model_dump(exclude_unset=True)
        assert dumped == common | at(PARAMS, name), name
    assert read_seed(COMMITTED) == PARAMS["seed"]
    assert PARAMS.keys() == {"seed", "rounds", *(name.split(".")[0] for name in SECTIONS)}
    check_rounds(COMMITTED)
    assert PARAMS["align"]["lr"].keys() >= {one["id"] for one in PARAMS["rounds"]}
    assert PARAMS["sample"].keys() == {"common", "rm", "llm", "test"}


def test_params_yaml_repeats_no_default() -> None:
    """A key with the value of the defaults says what is said already, but where a preset has two values."""
    of_presets = {"sample.test.max_new_tokens"}
    for name, defaults in DEFAULTS.items():
        common, section = at(PARAMS, defaults), at(PARAMS, name)
        assert common.keys() - section.keys()
        twice = {f"{name}.{key}" for key in common.keys() & section.keys() if common[key] == section[key]}
        assert twice <= of_presets


def test_params_yaml_means_the_same_to_both_yaml_parsers() -> None:
    text = COMMITTED.read_text(encoding="utf-8")
    plain = pyyaml.safe_load(text)
    assert plain == PARAMS
    for section, leaf in LEAVES:
        assert type(at(plain, leaf)) is type(at(PARAMS, leaf)), (section, leaf)


def test_read_section_gives_an_immutable_section() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_section(COMMITTED, "apo", Apo).coeff = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(("section", "leaf"), [one for one in LEAVES if not EXCEPTIONS.match(one[1])])
def test_read_section_names_a_missing_key_or_takes_its_default(
    tmp_path: Path, section: str, leaf: str
) -> None:
    path, key = params_with(tmp_path, leaf, ...), leaf.rpartition(".")[2]
    common = at(PARAMS, DEFAULTS[section]) if section in DEFAULTS and leaf == f"{section}.{key}" else {}
    if key in common:
        assert getattr(read(path, section), key) == common[key]
    elif leaf == f"{DEFAULTS.get(section)}.{key}":
        refused(path, section, f"{section}.{key}", "no such key")
    elif not leaf.startswith("align.lr."):  # the round that has none is named by read_align
        refused(path, section, leaf, "no such key")


@pytest.mark.parametrize(("section", "leaf"), LEAVES)
def test_read_section_names_an_unknown_key(tmp_path: Path, section: str, leaf: str) -> None:
    """But for a round, which may have any name."""
    path, unknown = params_with(tmp_path, f"{leaf}s_", 3), f"{leaf}s_"
    if leaf.startswith("align.lr."):
        assert unknown.rpartition(".")[2] in read(path, section).lr
        return
    message = refused(path, section, unknown, "a parameter that nothing reads (3)")
    assert "correct its spelling" in message


@pytest.mark.parametrize(("section", "leaf"), LEAVES)
def test_read_section_names_a_value_of_another_type(tmp_path: Path, section: str, leaf: str) -> None:
    committed = at(PARAMS, leaf)
    wrong: list[Any] = [None, {"a": 1}]
    wrong += [7, True] if isinstance(committed, str) else ["text"]
    if not isinstance(committed, bool):
        wrong.append(True)
    if not isinstance(committed, list):
        wrong.append([committed])
    if isinstance(committed, int):
        wrong.append(0.5)
    for value in wrong:
        refused(params_with(tmp_path, leaf, value), section, leaf, repr(value)[:60])


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
def test_read_section_refuses_a_file_without_the_section_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_section(path, "apo", Apo)
    assert "\n" not in str(error.value)


def test_read_section_says_where_to_run_if_there_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "params.yaml", tmp_path):
        with pytest.raises(UserError, match="run from the repository root"):
            read_section(path, "apo", Apo)


def test_read_section_names_an_unknown_part() -> None:
    with pytest.raises(UserError, match=r"params\.yaml: sample\.valid: found no such key"):
        read_section(COMMITTED, "sample.valid", Sampling)


def test_read_section_refuses_defaults_that_are_no_section(tmp_path: Path) -> None:
    path = params_with(tmp_path, "rm.lr", 0.1)
    path.write_text(path.read_text(encoding="utf-8").replace("training:", "other:") + "training: 3\n")
    with pytest.raises(UserError, match=r"params\.yaml: training: found 3; expected a section with keys"):
        read(path, "rm")
    with pytest.raises(UserError, match=r"params\.yaml: shared: found no such key"):
        read_section(path, "rm", RewardTraining, defaults="shared")


def test_read_section_names_a_wrong_value_where_it_stands(tmp_path: Path) -> None:
    """In the section itself, or in the one that it has it from."""
    refused(params_with(tmp_path, "training.beta2", 1.5, "rm"), "rm", "training.beta2", "1.5")
    refused(params_with(tmp_path, "rm.beta2", 1.5), "rm", "rm.beta2", "1.5")
    assert (
        read(params_with(tmp_path, "training.beta2", 1.5, "backbone"), "backbone").beta2
        == PARAMS["backbone"]["beta2"]
    )
