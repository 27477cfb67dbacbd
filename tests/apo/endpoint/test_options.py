"""apo/endpoint/options.py: what a user adds to a request, and may not add."""

import pytest
from pydantic import ValidationError

from apo.endpoint.options import FIXED, with_options
from tests.helpers.fake_judge import settings


def test_with_options_replaces_adds_and_leaves_out() -> None:
    request = {"model": "m", "temperature": 0.0, "max_tokens": 9}
    options = {"temperature": None, "max_tokens": 8, "seed": 1}
    assert with_options(request, options) == {"model": "m", "max_tokens": 8, "seed": 1}
    assert with_options(request, {}) == request


@pytest.mark.parametrize("key", FIXED)
def test_request_options_refuse_what_the_stage_sets(key: str) -> None:
    with pytest.raises(ValidationError, match=f"keys other than {key}, which the stage sets"):
        settings(request={key: 1})
