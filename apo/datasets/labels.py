"""What the user says that the values of a label mean, put in the place of the values."""

from collections.abc import Mapping
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets.verdicts import LabelError, is_tie, label_key, label_meanings, model_error

WHERE = "params.yaml: data.files.labels (data.hub.labels)"


class Labels:
    """The meanings of the labels of one file.

    Args:
        labels: By value: the end of an answer's name, or `tie`; {} if the values are read as they are.
        label: The column with the label and the ends of the names of both answers; None if there is none.
        format: The name of the file's format.

    Raises:
        UserError: There are meanings, and no label; or a meaning is neither an end nor `tie`.
    """

    def __init__(
        self, labels: Mapping[Any, Any], label: tuple[str, tuple[str, str]] | None, *, format: str
    ) -> None:
        self._label = label
        if labels and not label:
            raise UserError(
                WHERE,
                found=f"labels for a file of the format {format}",
                expected="{}, as no column of it says which of two answers is better",
                do="write {}, or the labels of each file under its name ({FILE: {1: a, 2: b}}), or name the "
                "columns of the two answers and of the label",
            )
        self._meanings = label_meanings(labels, label[1], WHERE) if labels and label else {}

    def applied(self, row: Row, where: str) -> Row:
        """The row with the meaning of its label in place of the value.

        Raises:
            LabelError: No meaning is known for the value, or the value names a model.
        """
        if not self._meanings or not self._label:
            return row
        key, ends = self._label
        meaning = self._meanings.get(label_key(row[key]), "tie" if is_tie(row[key]) else None)
        if error := model_error(row, key, ends, where):
            if meaning is None:  # the row itself says which answer is meant
                return row
            raise error
        if meaning is None:
            error = LabelError(key, row[key], ends, where)
            error.code, error.expected = "bad_score", f"one of {', '.join(self._meanings)}, as the labels say"
            raise error
        return row | {key: meaning}
