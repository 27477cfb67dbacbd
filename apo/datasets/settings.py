"""Section `data` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from apo.core.config import Count, Positive, Section


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


Refused = Literal["error", "drop"]  # of rows that can't be used


Judged = Literal["error", "drop", "keep"]


class RowFindings(Section):
    """What is done about rows in which something is found; the codes are explained in params.yaml."""

    not_utf8: Refused
    not_json: Refused
    other_keys: Refused
    not_text: Refused
    nul_character: Refused
    surrogate: Refused
    bad_score: Refused
    score_count: Refused
    bad_id: Refused
    id_of_two_queries: Refused
    blank_query: Refused
    query_form: Refused
    separator: Refused
    no_dialogue: Refused
    role_order: Refused
    turn_mark: Refused
    missing_golden: Refused
    two_golden: Refused
    two_queries: Refused
    empty_response: Refused
    single_response: Refused
    identical_responses: Refused
    no_preference: Refused
    golden_repeated: Refused
    too_long: Judged
    duplicate_responses: Judged
    sample_count: Judged
    replacement_character: Judged
    turn_order: Judged
    chat_template: Judged

    @classmethod
    def never_kept(cls) -> list[str]:
        """The codes of rows that can't be kept."""
        return [name for name, one in cls.model_fields.items() if one.annotation == Refused]


class Data(Section):
    source: Literal["demo", "files", "hub", "authors"]
    dir: str
    shape: str
    demo: Demo
    files: Files
    hub: Hub
    authors: Authors
    findings: RowFindings
