"""apo/core/environment.py: a whole number in an environment variable, or a message that names it."""

import pytest

from apo.core.environment import environment_int
from apo.core.errors import UserError


def test_environment_int_is_the_number_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment_int("APO_NUMBER", 3) == 3
    monkeypatch.setenv("APO_NUMBER", "12")
    assert environment_int("APO_NUMBER", 3) == 12
    monkeypatch.setenv("APO_NUMBER", "0")
    assert environment_int("APO_NUMBER", 3, least=0) == 0


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "²"])
def test_environment_int_refuses_another_text(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("APO_NUMBER", text)
    message = f"APO_NUMBER: found {text!r}; expected a whole number of at least 1; unset it"
    with pytest.raises(UserError) as refused:
        environment_int("APO_NUMBER", 3)
    assert str(refused.value) == message
    with pytest.raises(UserError, match="expected a number of GPUs; unset it"):
        environment_int("APO_NUMBER", 3, expected="a number of GPUs")
