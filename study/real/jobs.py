"""The jobs of the game with a real model: reward models, and the language models that they align."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from study import pipeline
from study.jobs import Job
from study.play import Workspace, hash_of_modules, play, rerun
from study.real import measures
from study.real.files import FOLDER as DATA
from study.real.files import MODEL, data_changes, hash_of_sources, write_files
from study.real.settings import RealSettings
from study.retrain import choose_again
from study.settings import Changes, Game

FOLDER = Path("real")
CODE = hash_of_modules("real/files.py", "real/jobs.py", "real/measures.py", "retrain.py")
"""Part of what a result is kept under."""
BASE_RM, TESTING_RM, ACTOR = "base RM", "testing RM", "actor"
RMS = ["evaluate_base_rm", "evaluate_test_rm", "evaluate_apo_rm@round0", *pipeline.FIRST_CHOICE]
LLMS = ["evaluate@round0"]


def apo_rm(coefficient: float) -> str:
    """The name of the APO RM at a coefficient."""
    return f"APO RM, coeff {coefficient:g}"


def cut_golden(coefficient: float) -> str:
    """The name of the APO RM whose golden answers are as long as the samples."""
    return f"{apo_rm(coefficient)}, golden answers cut"


@dataclass(frozen=True)
class World:
    """The games of one seed.

    Attributes:
        settings: The settings.
        data: The folder with the files.
        model: The folder with the checkpoint of the chat model.
        seed: The seed.
    """

    settings: RealSettings
    data: Path
    model: Path
    seed: int

    def play(self, workspace: Workspace, name: str, changes: Changes, targets: list[str]) -> None:
        """Plays a game; what it shares with earlier ones comes from the cache."""
        write_files(self.settings, self.data, self.model, workspace.copy, seed=self.seed)
        (workspace.copy / FOLDER).mkdir(exist_ok=True)
        play(Game("real", name, self.seed, self.changes | changes, targets), workspace)

    @property
    def changes(self) -> Changes:
        """Everything that differs from params.yaml in all games of the seed."""
        folders = {"backbone.start": str(MODEL), "actor.start": str(MODEL), "data.dir": str(DATA)}
        return self.settings.baseline | folders | data_changes(self.settings) | {"seed": self.seed}

    def reward_models(self, workspace: Workspace, coefficient: float) -> dict[str, Any]:
        """Plays until both RMs have chosen; measures of both, of the testing RM and of the golden answers."""
        copy = workspace.copy
        self.play(workspace, apo_rm(coefficient), {"apo.coeff": coefficient}, RMS)
        scored, metrics = self._scored(workspace), pipeline.read_metrics(copy)
        names = {"base": (BASE_RM, "base_rm"), "apo": (apo_rm(coefficient), "apo_rm_r1")}
        selected = {arm: list(read_rows(pipeline.selected_file(copy, arm))) for arm in names}
        rms = {
            name: measures.rm_measures(metrics[key]) | measures.choice_measures(selected[arm], scored)
            for arm, (name, key) in names.items()
        }
        choice = measures.choice_of_testing_rm(selected["base"], scored)
        rms[TESTING_RM] = measures.rm_measures(metrics["test_rm"]) | choice
        golden = measures.golden_measures(list(read_rows(pipeline.adversarial_file(copy))))
        return {"rms": rms, "golden": golden}

    def length_control(self, workspace: Workspace) -> dict[str, Any]:
        """Trains the APO RM again on golden answers that are cut to the length of the samples."""
        coefficient = self.settings.length_control
        copy, name = workspace.copy, cut_golden(coefficient)
        self.play(workspace, name, {"apo.coeff": coefficient}, RMS)
        scored = self._scored(workspace)
        rows = measures.with_cut_golden(list(read_rows(pipeline.adversarial_file(copy))))
        pairs, selected = copy / FOLDER / "cut.jsonl", copy / FOLDER / "selected.jsonl"
        write_rows(pairs, rows)
        file = choose_again(
            "apo", workspace, copy / FOLDER, selected, title=name, arguments={"adversarial_pairs": pairs}
        )
        evaluation = json.loads(file.read_text(encoding="utf-8"))["apo_rm_r1"]
        rm = measures.rm_measures(evaluation) | measures.choice_measures(list(read_rows(selected)), scored)
        return {"rms": {name: rm}, "golden": measures.golden_measures(rows)}

    def language_models(self, workspace: Workspace, method: str, coefficient: float) -> dict[str, Any]:
        """Plays to the answers of both LLMs; their measures, difference and answers to `settings.queries`."""
        copy, name = workspace.copy, f"{method}, coeff {coefficient:g}"
        changes = {"apo.coeff": coefficient} | self.settings.methods[method]
        self.play(workspace, name, changes, LLMS)
        metrics = pipeline.read_metrics(copy)
        keys = {ACTOR: "actor", "base": "llm_base_r1", "apo": "llm_apo_r1"}
        comparison = metrics["evaluate_r1"]["llm_apo_r1_vs_llm_base_r1"]["score"]
        folders = {ACTOR: "models/actor", "base": "models/llm_base/r1", "apo": "models/llm_apo/r1"}
        return {
            "llms": {llm: measures.llm_measures(metrics[f"answer_{key}"]) for llm, key in keys.items()},
            "apo_vs_base": {key: comparison[key] for key in ("difference", "low", "high")},
            "transcripts": {llm: self._answers(workspace, path) for llm, path in folders.items()},
        }

    def _scored(self, workspace: Workspace) -> Mapping[str, list[float]]:
        """The rewards of all samples of the LLM queries by the testing RM, by query."""
        copy = workspace.copy
        base, apo = (copy / f"data/samples/r1/{arm}.jsonl" for arm in pipeline.ARMS)
        if base.read_bytes() != apo.read_bytes():
            raise UserError(
                str(copy),
                found="different samples in the two arms",
                expected="the same in round one, by the same actor",
                do="set no parameter of one arm alone",
            )
        scores = copy / FOLDER / f"scored_{self.seed}.jsonl"
        if not scores.is_file():
            arguments: dict[str, Path | str] = {"name": "scored", "model": "models/rm_test", "out": scores}
            arguments["metrics"] = copy / FOLDER / "scored.json"
            rerun(pipeline.SCORE, workspace, "testing RM", arguments)
        return {row["query_id"]: row["scores"] for row in read_rows(scores)}

    def _answers(self, workspace: Workspace, llm: str) -> list[str]:
        """The answers of an LLM to the queries of the settings."""
        folder = workspace.copy / FOLDER
        queries, out, metrics = folder / "queries.jsonl", folder / "answers", folder / "answers.json"
        write_rows(
            queries,
            [
                {"query_id": str(index), "query": f"\n\nHuman: {query}\n\nAssistant:"}
                for index, query in enumerate(self.settings.queries)
            ],
        )
        arguments: dict[str, Path | str] = {"name": "own", "llm": llm, "queries": queries}
        arguments |= {"out": out, "metrics": metrics}
        rerun(pipeline.ANSWER, workspace, f"answers of {llm}", arguments)
        answers = {row["query_id"]: row["samples"][0] for row in read_rows(out / "own.jsonl")}
        return [answers[str(index)] for index in range(len(self.settings.queries))]


def real_jobs(settings: RealSettings, data: Path, model: Path) -> Iterator[list[Job]]:
    """Batches: the reward models of each seed, then the language models that each method aligns."""
    worlds = [World(settings, data, model, seed) for seed in settings.seeds]
    yield from (list(_reward_model_jobs(world)) for world in worlds)
    yield from (list(_language_model_jobs(world, method)) for world in worlds for method in settings.methods)


def _reward_model_jobs(world: World) -> Iterator[Job]:
    for coefficient in world.settings.coefficients:
        yield _job(world, "rm", apo_rm(coefficient), world.reward_models, coefficient)
    yield _job(world, "rm", cut_golden(world.settings.length_control), world.length_control)


def _language_model_jobs(world: World, method: str) -> Iterator[Job]:
    for coefficient in world.settings.coefficients:
        name = f"{method}, coeff {coefficient:g}"
        yield _job(world, "llm", name, world.language_models, method, coefficient)


def _job(world: World, kind: str, name: str, play: Callable[..., Any], *arguments: Any) -> Job:
    sources = hash_of_sources(world.settings, world.data, world.model)
    spec = ["real", CODE, sources, world.settings.model_dump(exclude={"seeds"}), world.seed, kind, name]
    return Job(kind, name, world.seed, spec, lambda workspace: play(workspace, *arguments))
