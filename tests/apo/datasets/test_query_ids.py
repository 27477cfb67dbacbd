"""apo/datasets/query_ids.py: one id for one query, whatever file it comes from."""

import pytest

from apo.core.errors import UserError
from apo.datasets.query_ids import QueryIds
from tests.helpers.reading import HOW, WHY


def test_canonical_gives_a_query_one_id_in_all_files() -> None:
    ids = QueryIds()
    assert ids.canonical("a", WHY, "x:1") == "a"
    assert ids.canonical("b", "\n\nHuman:  why\n\nAssistant:", "y:1") == "a"
    assert ids.canonical("c", HOW, "y:2") == "c"
    assert ids.canonical("a", WHY, "z:1") == "a"


@pytest.mark.parametrize("query_id", ["a", "b"])
def test_canonical_refuses_an_id_of_two_queries(query_id: str) -> None:
    ids = QueryIds()
    ids.canonical("a", WHY, "x:1")
    ids.canonical("b", WHY, "x:2")
    with pytest.raises(UserError, match=rf"^y:3: found query_id '{query_id}' for the query"):
        ids.canonical(query_id, HOW, "y:3")
