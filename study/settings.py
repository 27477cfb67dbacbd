"""`settings.yaml` as typed sections, and its games in the order of play."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo.core.errors import UserError
from study.pipeline import FIRST_CHOICE, WHOLE_GAME

SETTINGS = Path(__file__).with_name("settings.yaml")
Changes = dict[str, Any]
"""Keys of params.yaml, parts joined by points, and their values."""
Axis = Literal["comparisons", "model_size"]
Kind = Literal["method", "sweep", "confirmation", "alignment", Axis, "real"]
SETS = ("method", "sweep", "confirmation", "alignment", "comparisons", "model_size", "transfer")
"""Sets of games, in the order of play."""


_Model = TypeVar("_Model", bound=BaseModel)


class Section(BaseModel):
    """A part of a file of settings: no unknown keys, no other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Setting(Section):
    """A setting of the sweep."""

    family: str
    name: str
    changes: Changes


class Confirmation(Section):
    """Settings of the sweep, by name, that are played again on fresh seeds."""

    seeds: list[int]
    settings: list[str]


class AlignmentSet(Section):
    """All methods at several coefficients, two rounds."""

    seeds: list[int]
    coefficients: list[float]


class AxisSet(Section):
    """Several values of one quantity, whose `unit` follows the number, each at several coefficients."""

    seeds: list[int]
    coefficients: list[float]
    changes: Changes
    unit: str
    values: dict[int, Changes]


class Size(Section):
    """Alignments on one number of targets."""

    targets: int
    changes: Changes
    methods: list[str]
    alignment_seeds: list[int]


class TransferSet(Section):
    """Alignments of one actor on targets of different choosers, see `study.transfer`."""

    seeds: list[int]
    coefficients: list[float]
    rm_seeds: list[int]
    sizes: list[Size]


class Quick(Section):
    """A trial of minutes: fewer seeds, the first settings of the sweep, small sizes."""

    seeds: list[int]
    sweep: int
    changes: Changes


class Settings(Section):
    """All of `settings.yaml`."""

    seeds: list[int]
    baseline: Changes
    methods: dict[str, Changes]
    sweep: list[Setting]
    confirmation: Confirmation
    alignment: AlignmentSet
    comparisons: AxisSet
    model_size: AxisSet
    transfer: TransferSet
    quick: Quick

    @model_validator(mode="after")
    def _names_are_known(self) -> "Settings":
        unknown = {*self.confirmation.settings} - {setting.name for setting in self.sweep}
        if unknown:
            raise ValueError(f"confirmation: {', '.join(sorted(unknown))} is no setting of the sweep")
        unknown = {name for size in self.transfer.sizes for name in size.methods} - {*self.methods}
        if unknown:
            raise ValueError(f"transfer: {', '.join(sorted(unknown))} is no method")
        return self


@dataclass(frozen=True)
class Game:
    """One game: a seed under one setting, played as far as its targets.

    Attributes:
        kind: The set that it belongs to.
        name: The name of the method or the setting.
        seed: The parameter `seed`.
        changes: All differences from params.yaml, the seed too.
        targets: Stages of dvc.yaml to play, with all before them.
    """

    kind: Kind
    name: str
    seed: int
    changes: Changes
    targets: list[str]

    @property
    def title(self) -> str:
        """The title in error messages."""
        return f"seed {self.seed}, {self.name}"


def read_settings(path: Path = SETTINGS) -> Settings:
    """Reads the settings, see `read_as`."""
    return read_as(Settings, path)


def read_as(kind: type[_Model], path: Path) -> _Model:
    """Reads a file of settings.

    Raises:
        UserError: The file is not YAML, or a key is missing, unknown or wrong.
    """
    try:
        return kind.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except (YAMLError, ValidationError) as error:
        raise UserError(
            str(path),
            found=" ".join(str(error).split()),
            expected="the keys of the file as it was",
            do="correct it",
        ) from None


def quick_settings(settings: Settings) -> Settings:
    """The same study, small enough for a trial."""
    quick = settings.quick
    seeds = {"seeds": quick.seeds}
    size = settings.transfer.sizes[0].model_copy(update={"alignment_seeds": [201, 202]})
    transfer = seeds | {"sizes": [size], "rm_seeds": settings.transfer.rm_seeds[:1]}
    return settings.model_copy(
        update=seeds
        | {
            "baseline": settings.baseline | quick.changes,
            "sweep": settings.sweep[: quick.sweep],
            "confirmation": Confirmation(seeds=[], settings=[]),
            "alignment": settings.alignment.model_copy(update=seeds),
            "comparisons": _quick_axis(settings.comparisons, quick),
            "model_size": _quick_axis(settings.model_size, quick),
            "transfer": settings.transfer.model_copy(update=transfer),
        }
    )


def _quick_axis(axis: AxisSet, quick: Quick) -> AxisSet:
    first = next(iter(axis.values))
    update = {"seeds": quick.seeds, "values": {first: quick.changes}, "coefficients": axis.coefficients[:2]}
    return axis.model_copy(update=update)


def games(settings: Settings) -> Iterator[list[Game]]:
    """The games in batches, each of which one worker plays in order.

    The methods of a seed share everything but the alignment, so they are one batch. Then comes the sweep, one
    setting after the other over all seeds, so that a stopped study has complete settings. Then come the other
    sets, seed by seed.
    """
    for seed in settings.seeds:
        yield [
            Game("method", name, seed, settings.baseline | changes | {"seed": seed}, WHOLE_GAME)
            for name, changes in settings.methods.items()
        ]
    for setting in settings.sweep:
        for seed in settings.seeds:
            changes = settings.baseline | setting.changes | {"seed": seed}
            yield [Game("sweep", setting.name, seed, changes, FIRST_CHOICE)]
    sweep = {setting.name: setting.changes for setting in settings.sweep}
    for seed in settings.confirmation.seeds:
        yield [
            Game("confirmation", name, seed, settings.baseline | sweep[name] | {"seed": seed}, FIRST_CHOICE)
            for name in settings.confirmation.settings
        ]
    yield from _alignment_games(settings)
    yield from _axis_games(settings, "comparisons", settings.comparisons)
    yield from _axis_games(settings, "model_size", settings.model_size)


def alignment_name(method: str, coefficient: float) -> str:
    """The name of a game of the set `alignment`."""
    return f"{method}, coeff {coefficient:g}"


def axis_name(axis: AxisSet, value: int, coefficient: float) -> str:
    """The name of a game of an axis."""
    return f"{value:,} {axis.unit}, coeff {coefficient:g}"


def _alignment_games(settings: Settings) -> Iterator[list[Game]]:
    for seed in settings.alignment.seeds:
        yield [
            Game(
                "alignment",
                alignment_name(method, coefficient),
                seed,
                settings.baseline | changes | {"apo.coeff": coefficient, "seed": seed},
                WHOLE_GAME,
            )
            for coefficient in settings.alignment.coefficients
            for method, changes in settings.methods.items()
        ]


def _axis_games(settings: Settings, kind: Kind, axis: AxisSet) -> Iterator[list[Game]]:
    for value, changes in axis.values.items():
        for seed in axis.seeds:
            common = settings.baseline | axis.changes | changes
            yield [
                Game(
                    kind,
                    axis_name(axis, value, coefficient),
                    seed,
                    common | {"apo.coeff": coefficient, "seed": seed},
                    FIRST_CHOICE,
                )
                for coefficient in axis.coefficients
            ]
