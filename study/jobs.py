"""What a worker does at a time, with a result of its own: a game, or one alignment of the set `transfer`."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.collect import collect
from study.play import Workspace, play
from study.settings import Game, Settings, games
from study.transfer import transfer_jobs


@dataclass(frozen=True)
class Job:
    """A thing to play.

    Attributes:
        kind: The set that it belongs to.
        name: Of the method or the setting.
        seed: Of the world.
        spec: All that decides its result, beside the code.
        play: Plays it and returns what is kept of it.
    """

    kind: str
    name: str
    seed: int
    spec: Any
    play: Callable[[Workspace], dict[str, Any]]

    @property
    def title(self) -> str:
        """For a line of the progress."""
        return f"seed {self.seed}, {self.name}"

    def key(self, code: str) -> str:
        """What its result is kept under."""
        return hashlib.sha256(json.dumps([code, self.spec], sort_keys=True).encode()).hexdigest()


def jobs(settings: Settings) -> Iterator[list[Job]]:
    """All jobs in lists, each of which one worker plays in its order, the games before the alignments."""
    for line in games(settings):
        yield [_game_job(game) for game in line]
    for alignments in transfer_jobs(settings):
        yield [Job("transfer", one.name, one.seed, one.spec, one.play) for one in alignments]


def _game_job(game: Game) -> Job:
    def played(workspace: Workspace) -> dict[str, Any]:
        play(game, workspace)
        return collect(workspace.copy)

    return Job(game.kind, game.name, game.seed, [game.changes, game.targets], played)


def read_kept(settings: Settings, folder: Path, code: str) -> list[dict[str, Any]]:
    """The results of this code and these settings in `folder`, in the order of play."""
    paths = [folder / f"{job.key(code)}.json" for line in jobs(settings) for job in line]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
