"""One comparison before the token check."""

from collections import Counter
from typing import Any

from apo.core.data_issues import DataIssues
from apo.core.dialogue import ASSISTANT
from apo.model.encoding import Encoder
from apo.reward.token_checks import Comparison, TokenCheck
from apo.reward.token_issues import TOKEN_ISSUES
from tests.helpers import tiny_models as tiny

CODES = list(TOKEN_ISSUES.codes)
QUERY = tiny.query("What is 1 plus 2?")
SHORT = f"\n\nHuman: a{ASSISTANT}"


def check_of(encoder: Encoder, action: str = "keep", **changes: str) -> TokenCheck:
    """A check in which every code has one action, but for changes."""
    issues = DataIssues(TOKEN_ISSUES, dict.fromkeys(CODES, action) | changes)  # type: ignore[arg-type]
    return TokenCheck(encoder, issues, unknown_rate=0.1)


def check_one(
    check: TokenCheck,
    encoder: Encoder,
    responses: list[str],
    scores: list[float] | None = None,
    *,
    query: str = QUERY,
    is_apo: bool = False,
) -> tuple[list[int], dict[str, int]]:
    """Which responses stay, and what was counted."""
    [tokenized] = encoder.tokenize([(query, responses)], Counter(), where="a.jsonl", allow_blank=True)
    assert tokenized
    scores = [float(-i) for i in range(len(responses))] if scores is None else scores
    stays = check.kept_responses(Comparison(query, responses, scores, tokenized, "a.jsonl:1", is_apo))
    return stays, dict(+check.issues.counts)


def checked(encoder: Encoder, *arguments: Any, action: str = "drop", **options: Any) -> Any:
    return check_one(check_of(encoder, action), encoder, *arguments, **options)
