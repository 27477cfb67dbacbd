"""Rows with two responses and how much the second is better, as HelpSteer has them."""

from collections import Counter

from apo.core.records import Row
from apo.datasets.context import parse_answer_columns
from apo.datasets.fields import number_in, number_of_cell
from apo.datasets.paired_columns import VERDICTS
from apo.datasets.parsed import Names, ParsedRow
from apo.datasets.verdicts import LabelError, check_two_answers, verdict_of


class StrengthParser:
    """Parses the rows of one file, and checks that its scale is centred on 0.

    A strength below 0 says that the first response is better. A file without one may have a scale from 1 to
    7, or magnitudes without a direction, unless a verdict beside each strength says the same as it does.

    Attributes:
        error: The error of a file without a strength below 0; None if there is one, or no strength above 0.
    """

    def __init__(self) -> None:
        self.error: LabelError | None = None
        self._is_centred = False

    def __call__(self, row: Row, where: str, counts: Counter[str], names: Names) -> ParsedRow:
        """A row, whose strength may also be a verdict: the meaning of a label, or a tie."""
        answers, key = (names["first"], names["second"]), names["strength"]
        check_two_answers(row, answers, where)
        value = number_of_cell(row[key])
        if isinstance(value, str):
            scores = verdict_of(row, key, answers, where)
        else:
            strength = number_in(value, key, where)
            scores = [max(-strength, 0.0), max(strength, 0.0)]
            self._check(row, key, answers, scores, where)
        return parse_answer_columns(row, answers, scores, where, counts, names)

    def _check(self, row: Row, key: str, answers: tuple[str, str], scores: list[float], where: str) -> None:
        ends = (answers[0][-1], answers[1][-1])
        agreement = _agreement(row, answers, scores)
        if agreement:
            problem = f"but {row[agreement]!r:.40} in '{agreement}'"
            error = LabelError(key, row[key], ends, where, problem=problem)
            error.do = (
                "map the columns without the one that is wrong, under data.files.columns (data.hub.columns): "
                f"the prompt, `{answers[0]}: {answers[0]}`, `{answers[1]}: {answers[1]}`, and "
                f"`{agreement}: {agreement}` or `{key}: {key}`"
            )
            raise error
        self._is_centred |= scores[0] > 0
        if self._is_centred:
            self.error = None
        elif scores[1] > 0 and agreement is None and not self.error:
            self.error = LabelError(key, row[key], ends, where, problem="and no value below 0 in the file,")
            self.error.expected = "values below 0 where the first response is better"
            self.error.do = (
                "write under data.files.labels (data.hub.labels) what each value means: "
                f"{ends[0]}, {ends[1]} or tie"
            )


def _agreement(row: Row, answers: tuple[str, str], scores: list[float]) -> str | None:
    """The column of a verdict that says otherwise; "" if one says the same, None if none says anything.

    Only names count: a number may be another label.
    """
    result = None
    for key in VERDICTS:
        if not isinstance(row.get(key), str) or isinstance(number_of_cell(row[key]), float):
            continue
        try:
            verdict = verdict_of(row, key, answers, "")
        except LabelError:
            continue
        if verdict[0] == verdict[1] or scores[0] == scores[1]:
            continue
        if (verdict[0] > verdict[1]) != (scores[0] > scores[1]):
            return key
        result = ""
    return result
