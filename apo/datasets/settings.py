"""Section `data` of params.yaml."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from apo.core.config import Count, Positive, Section
from apo.core.data_issues import OnIssue
from apo.datasets.issues import ROW_ISSUES


class Demo(Section):
    comparisons: Count
    test_comparisons: Count
    documents: Count
    demonstrations: Count
    temperature: Positive
    golden_flaws: Annotated[float, Field(ge=0.0, le=1.0)]


Columns = dict[str, str]  # by name in the format: a column of the file, or a path into it
Labels = dict[bool | int | float | str | None, int | str]  # the meaning of each value of a label
ColumnsByFile = Columns | dict[str, Columns]  # of all files of a kind, or of each by its name
LabelsByFile = Labels | dict[str, Labels]


class FileColumns(Section):
    """The columns of each kind of file; {} for a kind that is not named."""

    comparisons: ColumnsByFile = Field(default_factory=dict)
    golden: ColumnsByFile = Field(default_factory=dict)
    samples: ColumnsByFile = Field(default_factory=dict)
    demonstrations: ColumnsByFile = Field(default_factory=dict)


class Files(Section):
    comparisons: list[str]
    rm: list[str]
    llm: list[str]
    test: list[str]
    golden: list[str]
    samples: list[str]
    demonstrations: list[str]
    columns: FileColumns
    labels: LabelsByFile

    def names(self) -> dict[str, list[str]]:
        """The names of the files by kind."""
        return {kind: value for kind, value in self if isinstance(value, list)}

    def by_file(self) -> Iterator[tuple[str, str]]:
        """The parameters with options for each file by its name, with these names."""
        options = {f"columns.{kind}": value for kind, value in self.columns} | {"labels": self.labels}
        for key, value in options.items():
            yield from ((key, str(name)) for name in value if isinstance(value[name], dict))

    @classmethod
    def of(cls, names: Mapping[str, list[str]], columns: Columns, labels: Labels) -> "Files":
        """Files by kind, with the columns and labels of the comparisons."""
        columns_of = FileColumns(comparisons=columns, golden={}, samples={}, demonstrations={})
        lists = {kind: names.get(kind, []) for kind in cls.model_fields if kind not in ("columns", "labels")}
        return cls.model_validate({**lists, "columns": columns_of, "labels": labels})


def option_of(options: Mapping[Any, Any], name: str) -> Mapping[Any, Any]:
    """The columns or labels of a file, if they are given for each file by its name."""
    is_by_file = any(isinstance(value, dict) for value in options.values())
    return options.get(name, {}) if is_by_file else options


class Hub(Section):
    path: str
    revision: str
    subset: str
    folder: str
    train: str
    test: str
    columns: Columns
    labels: Labels


class Authors(Section):
    samples: bool


class Data(Section):
    source: Literal["demo", "files", "hub", "authors"]
    dir: str
    format: str
    golden: Literal["files", "chosen", "endpoint"]
    demo: Demo
    files: Files
    hub: Hub
    authors: Authors
    on_issue: Annotated[OnIssue, ROW_ISSUES.annotation]
