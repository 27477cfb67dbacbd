"""Section `data` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Count, Positive, Section
from apo.datasets.issues import ROW_ISSUES
from apo.text.data_issues import OnIssue


class Demo(Section):
    comparisons: Count
    test_comparisons: Count
    documents: Count
    demonstrations: Count
    temperature: Positive
    golden_flaws: Annotated[float, Field(ge=0.0, le=1.0)]


class Files(Section):
    comparisons: list[str]
    rm: list[str]
    llm: list[str]
    test: list[str]
    golden: list[str]
    samples: list[str]
    demonstrations: list[str]
    columns: dict[str, str]


class Hub(Section):
    path: str
    revision: str
    subset: str
    folder: str
    train: str
    test: str
    columns: dict[str, str]


class Authors(Section):
    samples: bool
    urls: dict[str, str]


class Data(Section):
    source: Literal["demo", "files", "hub", "authors"]
    dir: str
    format: str
    demo: Demo
    files: Files
    hub: Hub
    authors: Authors
    on_issue: Annotated[OnIssue, ROW_ISSUES.annotation]
