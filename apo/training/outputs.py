"""The paths of the outputs of a stage that trains a model."""

from pathlib import Path
from typing import NamedTuple


class Outputs(NamedTuple):
    """The paths of the outputs of a training."""

    out: Path  # folder of the checkpoint
    curves: Path  # CSV file of a language model, folder of a reward model
    metrics: Path  # JSON file
