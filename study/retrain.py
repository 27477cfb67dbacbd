"""A reward model of a played game, trained again with other parameters or data, and what it chooses then."""

from collections.abc import Mapping
from pathlib import Path

from study import pipeline
from study.play import Workspace, change, rerun
from study.settings import Changes


def choose_again(
    arm: str,
    workspace: Workspace,
    folder: Path,
    selected: Path,
    *,
    title: str,
    changes: Changes | None = None,
    arguments: Mapping[str, Path | str] | None = None,
) -> Path:
    """Trains the RM of an arm again, evaluates it, and lets it choose among the samples of the last game.

    Args:
        arm: The arm.
        workspace: The workspace of the game.
        folder: An existing folder in the copy, for everything that is written.
        selected: The file for the chosen responses.
        title: For the error message.
        changes: Differences of the parameters.
        arguments: Other inputs of the training, by the names of its arguments.

    Returns:
        The metrics file of the evaluation.

    Raises:
        UserError: A stage failed.
    """
    params, model, scores = folder / "params.yaml", folder / "model", folder / "scores.jsonl"
    params.write_bytes((workspace.copy / "params.yaml").read_bytes())
    change(params, changes or {})
    metrics = folder / "evaluation.json"
    outputs = {"out": model, "curves": folder / "rm", "metrics": folder / "rm.json", "params": params}
    rerun(pipeline.TRAIN_RM[arm], workspace, title, {**outputs, **(arguments or {})})
    outputs = {"model": model, "out": folder / "evaluation", "metrics": metrics}
    rerun(pipeline.EVALUATE_RM, workspace, title, outputs)
    outputs = {"model": model, "evaluation": metrics, "out": scores, "metrics": folder / "score.json"}
    rerun(pipeline.SCORE, workspace, title, outputs)
    rerun(
        pipeline.SELECT,
        workspace,
        title,
        {"scores": scores, "out": selected, "metrics": folder / "rjs.json"},
    )
    return metrics
