"""Assigns one id to each query, over all files."""

from apo.core.dialogue import digest_of, normalize_query, query_id_of
from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.fields import text_in


def id_in(row: Row, query: str, where: str) -> str:
    """The id that a row gives, or one made from the query."""
    if "query_id" not in row:
        return query_id_of(query)
    value = row["query_id"]
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise RowError(
            "bad_id",
            where,
            found=f"query_id {value!r:.40}"
            if isinstance(value, str | int | float | None)
            else f"query_id {str(value)[:40]}",
            expected="a text that is not blank, or a whole number",
            do="give the query an id, or leave the key out and one is made from the query",
        )
    return text_in(str(value), "query_id", where)


class QueryIds:
    """Assigns one id to each query, over all files. Memory is two short digests per query."""

    def __init__(self) -> None:
        self._id_of: dict[bytes, str] = {}
        self._query_of: dict[str, bytes] = {}

    def canonical(self, query_id: str, query: str, where: str) -> str:
        """The id under which the same normalized query was seen first.

        Raises:
            RowError: The id was given to another query before.
        """
        digest = digest_of(normalize_query(query))
        if self._query_of.setdefault(query_id, digest) != digest:
            raise RowError(
                "id_of_two_queries",
                where,
                found=f"query_id {query_id[:60]!r} for the query {query[-80:]!r}",
                expected="one query for each id; an earlier row gives the id to another query",
                do="make the ids unique over all files, or remove the key and they are made from the queries",
            )
        return self._id_of.setdefault(digest, query_id)
