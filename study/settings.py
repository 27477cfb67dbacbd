"""`settings.yaml`, typed, and the games that it asks for in the order in which they are played."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo.core.errors import UserError

SETTINGS = Path(__file__).with_name("settings.yaml")
Changes = dict[str, Any]
"""Keys of params.yaml, parts joined by points, and their values."""
MAIN_TARGETS = ["evaluate@round1"]
MAP_TARGETS = ["rjs@round0-base", "rjs@round0-apo"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Condition(_Part):
    """A place on the map."""

    family: str
    name: str
    changes: Changes


class Confirmation(_Part):
    """Places of the map, by name, that are played again on fresh seeds."""

    seeds: list[int]
    places: list[str]


class Quick(_Part):
    """What makes a look of minutes: fewer seeds, the first conditions of the map, small sizes."""

    seeds: list[int]
    map: int
    changes: Changes


class Settings(_Part):
    """All of `settings.yaml`."""

    seeds: list[int]
    baseline: Changes
    methods: dict[str, Changes]
    map: list[Condition]
    confirmation: Confirmation
    quick: Quick

    @model_validator(mode="after")
    def _confirms_places_of_the_map(self) -> "Settings":
        unknown = {*self.confirmation.places} - {place.name for place in self.map}
        if unknown:
            raise ValueError(f"confirmation: {', '.join(sorted(unknown))} is no place of the map")
        return self


@dataclass(frozen=True)
class Game:
    """One game: a seed under one setting, played as far as its targets.

    Attributes:
        kind: `method` of the main comparison, `condition` of the map, or its `confirmation`.
        name: Of the method or the condition.
        seed: Of everything.
        changes: All that differs from params.yaml, the seed too.
        targets: Stages of dvc.yaml to play, with all before them.
    """

    kind: Literal["method", "condition", "confirmation"]
    name: str
    seed: int
    changes: Changes
    targets: list[str]

    @property
    def title(self) -> str:
        """For a line of the progress."""
        return f"seed {self.seed}, {self.name}"


def read_settings(path: Path = SETTINGS) -> Settings:
    """Reads the settings.

    Raises:
        UserError: The file is no YAML or has not the keys that it should have.
    """
    try:
        return Settings.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except (YAMLError, ValidationError) as error:
        raise UserError(
            str(path),
            found=" ".join(str(error).split()),
            expected="the keys of study/settings.yaml as it was",
            do="correct it",
        ) from None


def quick_settings(settings: Settings) -> Settings:
    """The same study, small enough for a look."""
    quick = settings.quick
    return settings.model_copy(
        update={
            "seeds": quick.seeds,
            "baseline": settings.baseline | quick.changes,
            "map": settings.map[: quick.map],
            "confirmation": Confirmation(seeds=[], places=[]),
        }
    )


def part_of(settings: Settings, *, seeds: list[int], names: list[str]) -> Settings:
    """Some seeds, and some methods and places of the map by their names; empty for all.

    Raises:
        UserError: A seed or a name is not in the settings.
    """
    known = [*settings.methods, *(place.name for place in settings.map)]
    fresh = settings.confirmation.seeds
    unknown = [str(one) for one in (*seeds, *names) if one not in (*settings.seeds, *fresh, *known)]
    if unknown:
        raise UserError(
            "--seeds and --only",
            found=", ".join(unknown),
            expected=f"some of {', '.join(map(str, (*settings.seeds, *fresh, *known)))}",
            do="correct it, or add it to study/settings.yaml",
        )
    return settings.model_copy(
        update={
            "seeds": [seed for seed in settings.seeds if seed in seeds or not seeds],
            "methods": {name: one for name, one in settings.methods.items() if name in names or not names},
            "map": [place for place in settings.map if place.name in names or not names],
            "confirmation": Confirmation(
                seeds=[seed for seed in fresh if seed in seeds or not seeds],
                places=[name for name in settings.confirmation.places if name in names or not names],
            ),
        }
    )


def games(settings: Settings) -> Iterator[list[Game]]:
    """The games in lists, each of which one worker plays in its order.

    The methods of a seed share all but the alignment, so they are one list; then the map, one condition
    after the other over all seeds, so that what is there when somebody stops it is whole; then its
    confirmation, seed by seed.
    """
    for seed in settings.seeds:
        yield [
            Game("method", name, seed, settings.baseline | changes | {"seed": seed}, MAIN_TARGETS)
            for name, changes in settings.methods.items()
        ]
    for place in settings.map:
        for seed in settings.seeds:
            changes = settings.baseline | place.changes | {"seed": seed}
            yield [Game("condition", place.name, seed, changes, MAP_TARGETS)]
    again = {place.name: place.changes for place in settings.map}
    for seed in settings.confirmation.seeds:
        yield [
            Game("confirmation", name, seed, settings.baseline | again[name] | {"seed": seed}, MAP_TARGETS)
            for name in settings.confirmation.places
        ]
