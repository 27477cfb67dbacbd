"""What a user adds to the requests of an endpoint, or takes out of them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from apo.endpoint.reply_cache import Request

FIXED = ("model", "messages", "n", "stream")


def _check(options: dict[str, Any]) -> dict[str, Any]:
    if fixed := sorted(options.keys() & set(FIXED)):
        raise ValueError(f"keys other than {', '.join(fixed)}, which the stage sets")
    return options


RequestOptions = Annotated[dict[str, Any], AfterValidator(_check)]
"""Keys of the JSON body of a chat completion; null leaves a key out."""


def with_options(request: Request, options: Mapping[str, Any]) -> Request:
    """A request with other values of some keys, without those that are null.

    >>> with_options({"model": "m", "max_tokens": 9}, {"max_tokens": None, "seed": 1})
    {'model': 'm', 'seed': 1}
    """
    return {key: value for key, value in (request | dict(options)).items() if value is not None}
