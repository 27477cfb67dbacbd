"""`settings.yaml` of the game with a real model as typed sections."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo.core.errors import UserError
from study.settings import Changes

SETTINGS = Path(__file__).with_name("settings.yaml")
Part = Literal["rm", "llm", "test", "golden"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataFile(_Section):
    """Rows of one file that are a part of the game.

    Attributes:
        part: The part; `golden` are golden answers.
        name: The kind of its queries in the tables.
        file: Its path inside the folder of `--data`.
        rows: The number of rows that are drawn, 0 for all.
    """

    part: Part
    name: str
    file: str
    rows: int


class RealSettings(_Section):
    """All of `settings.yaml`."""

    seeds: list[int]
    coefficients: list[float]
    length_control: float
    methods: dict[str, Changes]
    files: list[DataFile]
    baseline: Changes
    queries: list[str]


def read_real_settings(path: Path = SETTINGS) -> RealSettings:
    """Reads the settings.

    Raises:
        UserError: The file is not YAML, or a key is missing, unknown or wrong.
    """
    try:
        return RealSettings.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except (YAMLError, ValidationError) as error:
        raise UserError(
            str(path),
            found=" ".join(str(error).split()),
            expected="the keys of study/real/settings.yaml as it was",
            do="correct it",
        ) from None
