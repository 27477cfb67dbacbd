"""What is wrong with rows of data: counted by code, some of each shown, and dealt with by policy."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal

from apo.core.errors import UserError
from apo.core.records import Row

Policy = Literal["error", "drop", "keep"]
EXAMPLES = 10  # of each code that are kept as examples


class Findings:
    """The findings in a stream of rows.

    Args:
        policies: What to do about each code: `error` ends the stage, `drop` leaves the row out, `keep` not.
        set_in: Where the policies stand, for messages: `data.findings`.
        never_kept: Codes of rows that can't be kept, for messages; that `policies` keeps none of them is
            checked where params.yaml is read.

    Attributes:
        counts: Rows by code, every code of `policies` among them, 0 where there was none.
        examples: Rows {code, policy, where, found}, the first `EXAMPLES` of each code.
    """

    def __init__(
        self, policies: Mapping[str, Policy], *, set_in: str, never_kept: Collection[str] = ()
    ) -> None:
        self._policies, self._set_in, self._never_kept = dict(policies), set_in, frozenset(never_kept)
        self.counts: Counter[str] = Counter(dict.fromkeys(policies, 0))
        self.examples: list[Row] = []

    def keeps(
        self, code: str, *, where: str, found: str, expected: str = "", do: str = "mend the row"
    ) -> bool:
        """Counts a finding; whether its row stays.

        Args:
            code: One of `policies`.
            where: The row: `data/input/pairs.jsonl:17`.
            found: What it has, shortened for a reader.
            expected: What it should have, where that says more than the code.
            do: What the user can do, beside changing the policy.

        Raises:
            UserError: The policy of the code is `error`.
        """
        policy = self._policies[code]
        if policy == "error":
            others = "drop" if code in self._never_kept else "drop or keep"
            raise UserError(
                where,
                found=found,
                expected=expected or f"no row with {code}",
                do=f"{do}, or set {self._set_in}.{code} to {others} in params.yaml",
            )
        self.counts[code] += 1
        if self.counts[code] <= EXAMPLES:
            self.examples.append({"code": code, "policy": policy, "where": where, "found": found})
        return policy == "keep"
