"""`params.yaml` as typed sections: unknown, missing and mistyped keys are errors that name the key.

Read with the YAML 1.2 parser that DVC uses, so that no value means two things. There are no
defaults here: a value lives only where DVC sees it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo.errors import UserError

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Policy = Literal["error", "drop", "keep"]


class Section(BaseModel):
    """A section of `params.yaml`; immutable, strict, without defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Demo(Section):
    comparisons: Count
    test_comparisons: Count
    documents: Count
    demonstrations: Count
    temperature: Positive


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


class Split(Section):
    rm_fraction: Fraction
    valid_fraction: Fraction
    test_fraction: Fraction
    near_duplicate: Annotated[float, Field(gt=0.0, le=1.0)]
    shared_first_turn: Literal["keep", "drop"]
    without_golden: Literal["error", "skip"]


class Steps(Section):
    """What every training has but its learning rate: warm-up, a schedule to zero, clipping by global norm."""

    optimiser: Literal["adamw", "muon"]
    beta2: Fraction
    epochs: Count
    batch_size: Count
    warmup_steps: CountOrZero
    schedule: Literal["linear", "cosine", "constant"]
    weight_decay: NotNegative
    max_grad_norm: Positive


class Optimiser(Steps):
    """What every training has."""

    lr: Positive


class Backbone(Optimiser):
    start: str
    vocab_size: Annotated[int, Field(ge=300)]
    hidden_size: Count
    layers: Count
    heads: Count
    intermediate_size: Count
    rope_theta: Positive
    max_length: Annotated[int, Field(ge=8)]


class FineTuning(Optimiser):
    max_length: Annotated[int, Field(ge=8)]


class Actor(FineTuning):
    start: str


class Alignment(Steps):
    """Its learning rate is that of the round, under `align_lr`."""

    method: Literal["rjs", "rrhf", "dpo"]
    beta: Positive
    rank_weight: Positive
    sft_weight: NotNegative
    max_length: Annotated[int, Field(ge=8)]

    def at(self, lr: float) -> "Align":
        """The settings of one round."""
        return Align(lr=lr, **self.model_dump())


class Align(Alignment, Optimiser):
    """The alignment of one round."""


class Sampling(Section):
    origin: Literal["actor", "source"]
    prompt: Literal["hh", "chat"]
    max_queries: CountOrZero
    num_samples: Count
    temperature: Positive
    top_k: CountOrZero
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    repetition_penalty: Positive
    max_new_tokens: Count
    max_prompt_tokens: Count


class Round(Section):
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]*$")]
    prev: str


class Convert(Section):
    pick: Literal["all", "one"]
    short_samples: Literal["error", "keep"]


class Model(Section):
    max_length: Annotated[int, Field(ge=8)]
    pooling: Literal["last", "eos", "average", "max"]
    separator: str
    truncation_side: Literal["left", "right"]
    padding_side: Literal["left", "right"]


class TokenFindings(Section):
    """What to do about each code of `apo.model.token_findings`."""

    equal_responses: Policy
    repeated_responses: Policy
    golden_equals_sample: Policy
    empty_response: Policy
    response_cut: Policy
    query_cut_away: Policy
    special_token_text: Policy
    special_token_id: Literal["error", "drop"]
    unknown_tokens: Policy
    lost_separator: Literal["error", "keep"]
    pad_is_end_token: Literal["error", "keep"]


class RewardTraining(Optimiser):
    findings: TokenFindings
    unknown_rate: Fraction
    eval_steps: CountOrZero
    calibration_bins: Annotated[list[Count], Field(min_length=1)]
    bootstrap: Annotated[int, Field(ge=100)]


class Gate(Section):
    """The part of section `rm` that scoring reads."""

    max_ece: Annotated[float, Field(ge=0.0, le=1.0)]
    max_ece_bins: Count


class Apo(Section):
    coeff: NotNegative
    num_samples: Count
    kl_coeff: NotNegative
    loss: Literal["ranking", "wgan"]
    init_from: Literal["backbone", "base_rm", "previous"]


class Score(Section):
    extra_answers: bool


class Rjs(Section):
    candidates: Literal["samples", "samples_and_extra"]


class Evaluate(Section):
    bootstrap: Annotated[int, Field(ge=100)]


class Judge(Section):
    model: str
    prompt: str
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    max_queries: CountOrZero
    temperature: NotNegative
    max_tokens: Count
    bootstrap: Annotated[int, Field(ge=100)]


S = TypeVar("S", bound=Section)
_consulted: dict[str, Any] = {}


def parameters_read() -> dict[str, Any]:
    """What this process has read so far: values as plain Python under their dotted names."""
    return dict(_consulted)


def read_section(params: Path, name: str, kind: type[S]) -> S:
    """One section, `apo` or `sample.rm`, checked.

    Raises:
        UserError: The file or the section is missing, a key is unknown, missing or of a wrong kind.
    """
    return _checked(params, name, kind, read_value(params, name))


def read_part(params: Path, name: str, kind: type[S], *, beside: type[Section]) -> S:
    """The keys of a section that one stage reads, where another stage reads those of `beside`.

    Each key counts as read by itself: a stage declares `rm.max_ece` and does not run again for `rm.lr`.

    Raises:
        UserError: See `read_section`.
    """
    values = _node(params, name)
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key not in beside.model_fields}
        _consulted.update({f"{name}.{key}": value for key, value in values.items()})
    return _checked(params, name, kind, values)


def _checked(params: Path, name: str, kind: type[S], values: Any) -> S:
    if not isinstance(values, dict):
        raise UserError(
            f"{params}: {name}",
            found=repr(values)[:60],
            expected="a section with keys",
            do="compare the file with `git diff params.yaml`",
        )
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _explain(params, name, error) from None


def check_rounds(params: Path) -> None:
    """Every round of `rounds` follows the one before it, the first one `r0`.

    Raises:
        UserError: They do not, there is none, or one comes twice.
    """
    rounds = read_value(params, "rounds")
    known = ["r0"]
    for number, one in enumerate(rounds if isinstance(rounds, list) else [], start=1):
        try:
            found = Round.model_validate(one)
        except ValidationError as error:
            raise _explain(params, f"rounds[{number - 1}]", error) from None
        if found.prev != known[-1] or found.id in known:
            raise UserError(
                f"{params}: rounds[{number - 1}]",
                found=f"round {found.id!r} after {found.prev!r}",
                expected=f"a new id after {known[-1]!r}, the round before it",
                do="write for example rounds=[{id: r1, prev: r0}, {id: r2, prev: r1}]",
            )
        known.append(found.id)
    if len(known) == 1:
        raise UserError(
            f"{params}: rounds",
            found=repr(rounds)[:60],
            expected="a list with at least one round",
            do="write rounds=[{id: r1, prev: r0}]",
        )


def read_number(params: Path, name: str) -> float:
    """A single leaf that is a number above 0, such as `align_lr.r1`."""
    value = read_value(params, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UserError(
            f"{params}: {name}",
            found=repr(value),
            expected="a number above 0",
            do="write small numbers with a point, 1.0e-6 and not 1e-6",
        )
    return float(value)


def read_seed(params: Path) -> int:
    """The whole number `seed`."""
    seed = read_value(params, "seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31:
        raise UserError(
            f"{params}: seed",
            found=repr(seed),
            expected="a whole number from 0 to 2147483647",
            do="write for example `seed: 1`",
        )
    return seed


def read_count(params: Path, name: str) -> int:
    """A single leaf that is a whole number of at least 1, such as `apo.num_samples`."""
    value = read_value(params, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(
            f"{params}: {name}",
            found=repr(value),
            expected="a whole number of at least 1",
            do=f"write for example `{name.split('.')[-1]}: 4`",
        )
    return value


def read_value(params: Path, name: str) -> Any:
    """The value under a dotted name, as plain Python and not checked.

    Raises:
        UserError: The file can't be read, or there is no such key.
    """
    _consulted[name] = _node(params, name)
    return _consulted[name]


def _node(params: Path, name: str) -> Any:
    try:
        node: Any = YAML(typ="safe").load(params.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            str(params),
            found=error.strerror or "an unreadable file",
            expected="a file of this repository",
            do="run from the repository root",
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            str(params),
            found=" ".join(str(error).split())[:200],
            expected="YAML",
            do="mend the line that is named",
        ) from None
    for key in name.split("."):
        if not isinstance(node, dict) or key not in node:
            raise UserError(
                f"{params}: {name}",
                found="no such key",
                expected="every parameter written out",
                do="restore it from `git diff params.yaml`",
            )
        node = node[key]
    return node


def _explain(params: Path, name: str, error: ValidationError) -> UserError:
    """The first finding of pydantic in our form; an unknown key before others: it may be a misspelt one."""
    found = error.errors(include_url=False)
    first = min(found, key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join([name, *map(str, first["loc"])])
    kind, value = first["type"], first["input"]
    if kind == "extra_forbidden":
        missing = [str(one["loc"][-1]) for one in found if one["type"] == "missing"]
        return UserError(
            f"{params}: {key}",
            found=f"a parameter that nothing reads ({value!r})",
            expected=f"{', '.join(missing)}, which is missing"
            if missing
            else "the keys of the section as committed",
            do="correct its spelling" if missing else "correct its spelling or remove it",
        )
    if kind == "missing":
        return UserError(
            f"{params}: {key}",
            found="no such key",
            expected="every parameter written out",
            do="restore it from `git diff params.yaml`",
        )
    do = "change the value"
    if kind == "float_type" and isinstance(value, str):
        do = "write small numbers with a point, 1.0e-6 and not 1e-6"
    if value == "keep" and kind == "literal_error":
        do = "choose one of them: such a row holds nothing that could be kept"
    message = first["msg"].removeprefix("Input should be ")
    return UserError(f"{params}: {key}", found=repr(value)[:60], expected=message, do=do)
