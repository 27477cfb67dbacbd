"""Jobs, each with one result: a game, or one alignment of the set `transfer`."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from study.collect import collect
from study.play import Workspace, play
from study.settings import Game, Settings, games
from study.transfer import transfer_jobs


@dataclass(frozen=True)
class Job:
    """A game or an alignment.

    Attributes:
        kind: The set that it belongs to.
        name: The name of the method or the setting.
        seed: The seed of the world.
        spec: Everything that determines its result, beside the code.
        play: Plays it and returns its result.
    """

    kind: str
    name: str
    seed: int
    spec: Any
    play: Callable[[Workspace], dict[str, Any]]

    @property
    def title(self) -> str:
        """The title in the progress output."""
        return f"seed {self.seed}, {self.name}"

    def key(self, code: str) -> str:
        """The name of its result: a hash of the code and the spec."""
        return hashlib.sha256(json.dumps([code, self.spec], sort_keys=True).encode()).hexdigest()


def jobs(settings: Settings) -> Iterator[list[Job]]:
    """All jobs in batches, each of which one worker plays in order; the games before the alignments."""
    for batch in games(settings):
        yield [_game_job(game) for game in batch]
    for alignments in transfer_jobs(settings):
        yield [
            Job("transfer", alignment.name, alignment.seed, alignment.spec, alignment.play)
            for alignment in alignments
        ]


def part_of(
    batches: list[list[Job]], *, seeds: Sequence[int], names: Sequence[str], kinds: Sequence[str] = ()
) -> list[list[Job]]:
    """The jobs of some sets (`kinds`), seeds and names; an empty list chooses all.

    Raises:
        UserError: No job has a chosen seed or name, or all of what was chosen together.
    """
    every = [job for job in chain.from_iterable(batches) if job.kind in (kinds or [job.kind])]
    known_seeds, known_names = {job.seed for job in every}, {job.name for job in every}
    if unknown := [seed for seed in seeds if seed not in known_seeds]:
        raise UserError(
            "--seeds",
            found=", ".join(map(str, unknown)),
            expected=f"some of {', '.join(map(str, sorted(known_seeds)))}",
            do="correct it, or add it to `seeds` in the settings.yaml of the study",
        )
    if unknown_names := [name for name in names if name not in known_names]:
        by_small_letters = {name.lower(): name for name in sorted(known_names)}
        close = [
            by_small_letters[match]
            for name in unknown_names
            for match in get_close_matches(name.lower(), by_small_letters, cutoff=0)
        ]
        raise UserError(
            "--only",
            found=", ".join(map(repr, unknown_names)),
            expected=f"names of games, such as {', '.join(map(repr, dict.fromkeys(close)))}",
            do="take a name of the table of games on the page, or add one to the settings.yaml of the study",
        )
    selected = [
        [
            job
            for job in batch
            if job.kind in (kinds or [job.kind])
            and job.seed in (seeds or [job.seed])
            and job.name in (names or [job.name])
        ]
        for batch in batches
    ]
    if not any(selected):
        raise UserError(
            "--sets, --seeds and --only",
            found="no game that has all of them",
            expected="at least one",
            do="leave one out",
        )
    return [batch for batch in selected if batch]


def _game_job(game: Game) -> Job:
    def play_and_collect(workspace: Workspace) -> dict[str, Any]:
        play(game, workspace)
        return collect(workspace.copy)

    return Job(game.kind, game.name, game.seed, [game.changes, game.targets], play_and_collect)


def read_kept(settings: Settings, folder: Path, code: str) -> list[dict[str, Any]]:
    """The results of this code and these settings in `folder`, in the order of play."""
    paths = [folder / f"{job.key(code)}.json" for batch in jobs(settings) for job in batch]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
