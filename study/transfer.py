"""How much of the targets' gain reaches the LLM: one actor is aligned on targets of different choosers.

In one world (a seed and a number of targets) all targets are chosen among the same samples of the same actor.
A chooser is `random`, an RM, or `truth`, the demo's true reward, which no RM can exceed. An alignment is a
chooser, a method and a seed of the alignment only. Its LLM answers the test queries as in a game.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from apo.core.records import Row, read_rows, write_rows
from apo.evaluation.compare_llms import with_true_rewards
from apo.selection import select
from study import pipeline
from study.play import Workspace, change, hash_of_modules, play, rerun
from study.retrain import choose_again
from study.settings import Changes, Game, Settings, Size

FOLDER = Path("transfer")
CODE = hash_of_modules("transfer.py", "retrain.py")
"""Part of what a result is kept under: these modules choose the targets."""
RANDOM, TRUTH, BASE_RM = "random", "truth", "base RM"


def apo_rm(coefficient: float) -> str:
    """The name of the APO RM at a coefficient as a chooser."""
    return f"APO RM, coeff {coefficient:g}"


def retrained(chooser: str, seed: int) -> str:
    """The name of an RM as a chooser that is trained on the same data with another seed."""
    return f"{chooser}, RM seed {seed}"


@dataclass
class World:
    """A seed and a number of targets, with the selections of all choosers.

    Attributes:
        seed: The seed of everything but `Alignment`.
        changes: All differences from params.yaml, the seed too.
        coefficients: The coefficients of the APO RMs.
        rm_seeds: The seeds with which the RMs are trained again.
        ready: The copies in which the world was prepared.
    """

    seed: int
    changes: Changes
    coefficients: Sequence[float]
    rm_seeds: Sequence[int]
    ready: set[Path] = field(default_factory=set)

    def choosers(self) -> list[str]:
        """All choosers, those with other RM seeds last."""
        rms = [BASE_RM, *map(apo_rm, self.coefficients)]
        retrained_rms = [retrained(rm, seed) for seed in self.rm_seeds for rm in (BASE_RM, rms[-1])]
        return [RANDOM, *rms, TRUTH, *retrained_rms]

    def prepare(self, workspace: Workspace) -> None:
        """Plays the games of the world and writes the selections of all choosers, once for each copy."""
        if workspace.copy in self.ready:
            return
        (workspace.copy / FOLDER).mkdir(exist_ok=True)
        for coefficient in self.coefficients:
            targets = [*pipeline.FIRST_CHOICE, *pipeline.FIRST_LLMS]
            changes = self.changes | {"apo.coeff": coefficient}
            play(Game("alignment", apo_rm(coefficient), self.seed, changes, targets), workspace)
            for arm, chooser in (("base", BASE_RM), ("apo", apo_rm(coefficient))):
                rows = list(read_rows(pipeline.selected_file(workspace.copy, arm)))
                write_rows(selection_file(workspace, chooser), rows)
        write_rows(selection_file(workspace, RANDOM), chosen_at_random(rows, self.seed))
        write_rows(selection_file(workspace, TRUTH), chosen_by_truth(rows))
        for seed in self.rm_seeds:  # the copy holds the game at the last coefficient
            for arm, chooser in (("base", BASE_RM), ("apo", apo_rm(self.coefficients[-1]))):
                choose_again(
                    arm,
                    workspace,
                    workspace.copy / FOLDER,
                    selection_file(workspace, retrained(chooser, seed)),
                    title=f"RM of the {arm} arm with seed {seed}",
                    changes={"seed": seed},
                )
        self.ready.add(workspace.copy)


@dataclass(frozen=True)
class Alignment:
    """One alignment: its targets, its method, its seed.

    Attributes:
        world: The world.
        targets: The number of LLM queries with a target.
        chooser: The chooser of the targets.
        method: The name of the method in settings.yaml.
        changes: The parameters of the method.
        alignment_seed: The seed of the order of the targets, the only randomness of an alignment.
    """

    world: World
    targets: int
    chooser: str
    method: str
    changes: Changes
    alignment_seed: int

    @property
    def seed(self) -> int:
        """The seed of the world."""
        return self.world.seed

    @property
    def name(self) -> str:
        """The title in the progress output."""
        return f"{self.method} on {self.targets:,} targets by {self.chooser}, seed {self.alignment_seed}"

    @property
    def spec(self) -> Any:
        """Everything that determines the result, beside the code."""
        world = [self.world.changes, list(self.world.coefficients)]
        return ["transfer", CODE, world, self.chooser, self.changes, self.alignment_seed]

    def play(self, workspace: Workspace) -> dict[str, Any]:
        """Aligns the LLM and lets it answer; returns the result, to which `run` adds the job."""
        self.world.prepare(workspace)
        folder, selected = workspace.copy / FOLDER, selection_file(workspace, self.chooser)
        params, llm, metrics = folder / "params.yaml", folder / "llm", folder / "metrics.json"
        params.write_bytes((workspace.copy / "params.yaml").read_bytes())
        change(params, self.changes | {"seed": self.alignment_seed})
        outputs = {"out": llm, "curves": folder / "align.csv", "metrics": metrics}
        rerun(pipeline.ALIGN, workspace, self.name, {"selected": selected, "params": params, **outputs})
        outputs = {"out": folder / "answers", "metrics": metrics}
        rerun(pipeline.ANSWER, workspace, self.name, {"name": "transfer", "llm": llm, **outputs})
        answers = json.loads(metrics.read_text(encoding="utf-8"))
        actor = pipeline.named_answers(pipeline.read_metrics(workspace.copy), "actor")
        return {
            "targets": self.targets,
            "chooser": self.chooser,
            "method": self.method,
            "alignment_seed": self.alignment_seed,
            "target_true_reward": target_true_reward(list(read_rows(selected))),
            "actor_true_reward": actor["true_reward"],
            "llm": pipeline.named_answers(answers, "transfer"),
        }


def transfer_jobs(settings: Settings) -> Iterator[list[Alignment]]:
    """The alignments, a batch for each world; the sizes one after the other."""
    for size in settings.transfer.sizes:
        for seed in settings.transfer.seeds:
            changes = settings.baseline | size.changes | {"seed": seed}
            world = World(seed, changes, settings.transfer.coefficients, settings.transfer.rm_seeds)
            yield list(_alignments(world, size, settings.methods))


def _alignments(world: World, size: Size, methods: dict[str, Changes]) -> Iterator[Alignment]:
    main_choosers = world.choosers()[: len(world.coefficients) + 3]
    for method in size.methods:
        for alignment_seed in size.alignment_seeds:
            for chooser in main_choosers:
                yield Alignment(world, size.targets, chooser, method, methods[method], alignment_seed)
    for chooser in world.choosers()[len(main_choosers) :]:
        method, seed = size.methods[0], size.alignment_seeds[0]
        yield Alignment(world, size.targets, chooser, method, methods[method], seed)


def selection_file(workspace: Workspace, chooser: str) -> Path:
    """The file with the selection of a chooser, in the format of stage rjs."""
    return workspace.copy / FOLDER / f"{chooser}.jsonl"


def chosen_at_random(rows: Sequence[Row], seed: int) -> list[Row]:
    """The selection by random scores."""
    rng = random.Random(seed)

    def random_scores(row: Row) -> list[float]:
        return rng.sample(list(map(float, range(len(row["samples"])))), len(row["samples"]))

    return _chosen(rows, random_scores)


def chosen_by_truth(rows: Sequence[Row]) -> list[Row]:
    """The selection by the true reward."""
    return _chosen(with_true_rewards(rows), lambda row: row["true_rewards"])


def _chosen(rows: Sequence[Row], scores_of: Callable[[Row], list[float]]) -> list[Row]:
    """The selection of the same samples by other scores, with the ids that were drawn."""
    names = ("query_id", "query", "samples", "sample_ids", "uncut")
    samples = [{name: row[name] for name in names if name in row} for row in rows]
    scores = [{"query_id": row["query_id"], "scores": scores_of(row)} for row in rows]
    selected = select(
        samples,
        scores,
        include_extra=False,
        samples_source="samples",
        rewards_source="rewards",
        counts=Counter(),
    )
    return list(selected)


def target_true_reward(rows: Sequence[Row]) -> float:
    """The mean true reward of the chosen responses."""
    return fmean(row["true_rewards"][row["target_index"]] for row in with_true_rewards(rows))
