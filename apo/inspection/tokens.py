"""The token issues of a file before there is a pipeline: what `rm.issues` would count and do."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from apo.core.config import read_section
from apo.core.records import Row
from apo.inspection.contents import Issue, Texts, lenient, listed, quantiles
from apo.model.chat_template import REFUSED
from apo.model.checkpoint import open_tokenizer
from apo.model.encoders import reward_encoder
from apo.model.settings import Model
from apo.reward.settings import RewardTraining
from apo.reward.token_checks import Comparison, TokenCheck
from apo.reward.token_issues import TOKEN_ISSUES


def tokens_in(drawn: Sequence[Texts], *, folder: Path, params: Path) -> tuple[Row, list[Issue]]:
    """Lengths in tokens, what is left for training, and the issues with the actions of params.yaml.

    Args:
        drawn: The rows to look at.
        folder: With a tokenizer, such as that of a checkpoint.
        params: Its sections `model` and `rm` say how texts are read and what is done about issues.

    Raises:
        UserError: The tokenizer does not load or can't be used, or something is wrong in params.yaml.
    """
    model = read_section(params, "model", Model)
    rm = read_section(params, "rm", RewardTraining, defaults="training")
    tokenizer = open_tokenizer(folder)
    encoder = reward_encoder(tokenizer, model, where=str(folder))
    actions = rm.on_issue.actions()
    issues = lenient(TOKEN_ISSUES, actions)
    check = TokenCheck(encoder, issues, unknown_rate=rm.unknown_rate)
    check.check_tokenizer(str(folder))
    left, counts = 0, Counter(dialogues_dropped=0)
    tokenizer.init_kwargs[REFUSED] = "drop"  # to look on
    items = encoder.tokenize(
        ((one.query, one.responses) for one in drawn), counts, where=str(folder), allow_blank=True
    )
    for one, tokenized in zip(drawn, items, strict=True):
        if tokenized is None:
            continue
        scores = one.scores or [0.0] * len(one.responses)
        stays = check.kept_responses(Comparison(one.query, one.responses, scores, tokenized, one.where))
        left += len({scores[index] for index in stays}) > 1 if one.scores else bool(stays)
    lengths = check.lengths
    found = {
        "rows": len(drawn),
        "rows_left": left,
        "refused_by_chat_template": counts["dialogues_dropped"],
        "max_length": model.max_length,
        "longer": sum(count for length, count in lengths.sequences.items() if length > model.max_length),
        "query": quantiles(lengths.queries),
        "response": quantiles(lengths.responses),
        "sequence": quantiles(lengths.sequences),
        "histogram": lengths.histogram(),
    }
    return found, listed(issues, actions)
