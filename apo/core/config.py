"""`params.yaml` as typed sections. Unknown, missing and mistyped keys are errors that name the key.

The parser is the YAML 1.2 parser of DVC, so both read the same values. There are no defaults here:
every value is in params.yaml, where DVC tracks it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo.core.errors import UserError

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Section(BaseModel):
    """A section of `params.yaml`; immutable, strict, without defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Round(Section):
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]*$")]
    prev: str


S = TypeVar("S", bound=Section)


def read_section(params: Path, name: str, kind: type[S], *, defaults: str = "") -> S:
    """Reads and validates one section, such as `apo` or `sample.rm`.

    Args:
        defaults: Name of a section with values for the keys that this one omits.

    Raises:
        UserError: The file or the section is missing, or a key is unknown, missing or has a wrong type.
    """
    values = read_value(params, name)
    common = read_value(params, defaults) if defaults else {}
    if not isinstance(values, dict) or not isinstance(common, dict):
        raise UserError(
            f"{params}: {defaults if isinstance(values, dict) else name}",
            found=repr(common if isinstance(values, dict) else values)[:60],
            expected="a section with keys",
            do="compare the file with `git diff params.yaml`",
        )
    try:
        return kind.model_validate(common | values)
    except ValidationError as error:
        raise _explain(params, name, error, {key: defaults for key in common if key not in values}) from None


def check_rounds(params: Path) -> list[str]:
    """The ids of `rounds`, in order. Each round follows the previous one; the first follows `r0`.

    Raises:
        UserError: The chain is broken, the list is empty, or an id occurs twice.
    """
    rounds = read_value(params, "rounds")
    ids = ["r0"]
    for index, entry in enumerate(rounds if isinstance(rounds, list) else []):
        try:
            current = Round.model_validate(entry)
        except ValidationError as error:
            raise _explain(params, f"rounds[{index}]", error) from None
        if current.prev != ids[-1] or current.id in ids:
            raise UserError(
                f"{params}: rounds[{index}]",
                found=f"round {current.id!r} after {current.prev!r}",
                expected=f"a new id after {ids[-1]!r}, the round before it",
                do="write for example rounds=[{id: r1, prev: r0}, {id: r2, prev: r1}]",
            )
        ids.append(current.id)
    if len(ids) == 1:
        raise UserError(
            f"{params}: rounds",
            found=repr(rounds)[:60],
            expected="a list with at least one round",
            do="write rounds=[{id: r1, prev: r0}]",
        )
    return ids[1:]


def read_seed(params: Path) -> int:
    """The integer `seed`."""
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
    """A single positive integer, such as `apo.num_samples`."""
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
    """The value under a dotted name as plain Python, without validation.

    Raises:
        UserError: The file is unreadable, or there is no such key.
    """
    node = read_all(params)
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


def read_all(params: Path) -> Any:
    """Every section of the file as plain Python, without validation.

    Raises:
        UserError: The file is unreadable, or no YAML.
    """
    try:
        return YAML(typ="safe").load(params.read_text(encoding="utf-8"))
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
            do="fix that line",
        ) from None


def _explain(
    params: Path, name: str, error: ValidationError, sections: Mapping[str, str] | None = None
) -> UserError:
    """The first pydantic error as a UserError. An unknown key comes first, since it may be misspelled.

    Args:
        sections: The source section of every key that comes from another section than `name`.
    """
    details = error.errors(include_url=False)
    first = min(details, key=lambda detail: detail["type"] != "extra_forbidden")
    section = (sections or {}).get(str(first["loc"][0]) if first["loc"] else "", name)
    key = ".".join([section, *map(str, first["loc"])])
    kind, value = first["type"], first["input"]
    if kind == "extra_forbidden":
        missing = [str(detail["loc"][-1]) for detail in details if detail["type"] == "missing"]
        return UserError(
            f"{params}: {key}",
            found=f"a parameter that nothing reads ({value!r})",
            expected=f"{', '.join(missing)}, which is missing" if missing else "the committed keys",
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
        do = "write it as a number, without quotes: 1.0e-6"
    if value == "keep" and kind == "literal_error":
        do = "choose one of them: such a row holds nothing that could be kept"
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return UserError(f"{params}: {key}", found=repr(value)[:60], expected=message, do=do)
