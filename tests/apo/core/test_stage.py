"""apo/core/stage.py: whatever is raised in a stage ends in one line and exit code 1."""

import sys
from collections.abc import Callable
from pathlib import Path

import jinja2
import pydantic
import pytest
import safetensors
import torch
from ruamel.yaml.error import YAMLError

from apo.core import stage
from apo.core.errors import UserError


def _validation_error() -> Exception:
    try:
        pydantic.TypeAdapter(int).validate_python("no")
    except pydantic.ValidationError as error:
        return error
    raise AssertionError


ERRORS: dict[str, Callable[[], Exception]] = {
    "a user's": lambda: UserError("a", found="b", expected="c", do="d"),
    "template": lambda: jinja2.TemplateError("System role not supported"),
    "template syntax": lambda: jinja2.TemplateSyntaxError("unexpected '}'", 3),
    "undefined in a template": lambda: jinja2.UndefinedError("'dict object' has no attribute 'x'"),
    "index": lambda: IndexError("index out of range in self"),
    "key": lambda: KeyError("model_type"),
    "value": lambda: ValueError("Unrecognized model\nin the folder"),
    "type": lambda: TypeError("not a string"),
    "attribute": lambda: AttributeError("'NoneType' object has no attribute 'shape'"),
    "not implemented": lambda: NotImplementedError("no sdpa"),
    "zero": lambda: ZeroDivisionError("division by zero"),
    "memory": lambda: MemoryError(),
    "torch": lambda: RuntimeError("The size of tensor a (3) must match"),
    "torch memory": lambda: torch.OutOfMemoryError("CUDA out of memory"),
    "safetensors": lambda: safetensors.SafetensorError("HeaderTooLarge"),
    "disk": lambda: OSError(28, "No space left on device"),
    "permission": lambda: PermissionError(13, "Permission denied", "models"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "recursion": lambda: RecursionError("maximum recursion depth exceeded"),
    "import": lambda: ImportError("tiktoken is not installed"),
    "yaml": lambda: YAMLError("could not determine a constructor"),
    "validation": _validation_error,
    "assertion": lambda: AssertionError(),
    "timeout": lambda: TimeoutError("timed out"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_run_ends_an_exception_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(out: Path) -> None:
        raise ERRORS[name]()

    monkeypatch.setattr(sys, "argv", ["stage", "--out", "x"])
    monkeypatch.delenv("APO_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as ended:
        stage.run(main)
    message = ended.value.code
    assert isinstance(message, str)  # which Python prints on stderr, with exit code 1
    assert message.startswith("error: ") and "\n" not in message
    assert all(part in message for part in (": found ", "; expected ", "; "))
    if name != "a user's":
        kind = type(ERRORS[name]()).__name__
        assert f"found {kind}" in message and "test_stage.py:" in message
    assert "Traceback" not in capsys.readouterr().err


def test_run_shows_the_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(out: Path) -> None:
        raise IndexError("index out of range in self")

    monkeypatch.setattr(sys, "argv", ["stage", "--out", "x"])
    monkeypatch.setenv("APO_TRACEBACK", "1")
    with pytest.raises(SystemExit):
        stage.run(main)
    assert "Traceback" in capsys.readouterr().err
