"""apo/endpoint/service.py: the names that a use of an endpoint has."""

import doctest

from apo.endpoint import service


def test_the_docstring_examples() -> None:
    assert doctest.testmod(service) == (0, 1)
