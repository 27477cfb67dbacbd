"""`settings.yaml` of the game with a real model as typed sections."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from study.settings import Changes, Section, read_as

SETTINGS = Path(__file__).with_name("settings.yaml")
Part = Literal["rm", "llm", "test", "golden"]


class DataFile(Section):
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


class RealSettings(Section):
    """All of `settings.yaml`."""

    seeds: list[int]
    coefficients: list[float]
    length_control: float
    methods: dict[str, Changes]
    files: list[DataFile]
    max_words: int
    baseline: Changes
    queries: list[str]

    def digest(self) -> str:
        """The first 12 digits of a hash of all but the seeds."""
        text = json.dumps(self.model_dump(exclude={"seeds"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_real_settings(path: Path = SETTINGS) -> RealSettings:
    """Reads the settings, see `study.settings.read_as`."""
    return read_as(RealSettings, path)
