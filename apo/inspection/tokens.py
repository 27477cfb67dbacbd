"""The token findings of a file before there is a pipeline: what `rm.findings` would count and do."""

from collections.abc import Sequence
from pathlib import Path

from apo.core.config import read_section
from apo.core.records import Row
from apo.inspection.contents import Finding, Texts, lenient, listed, quantiles
from apo.model.checkpoint import open_tokenizer, prepare_tokenizer
from apo.model.encoding import Encoder
from apo.model.settings import Model
from apo.reward.settings import RewardTraining
from apo.reward.token_checks import Comparison, TokenCheck


def tokens_in(drawn: Sequence[Texts], *, folder: Path, params: Path) -> tuple[Row, list[Finding]]:
    """Lengths in tokens, what is left for training, and the findings with the policies of params.yaml.

    Args:
        drawn: The rows to look at.
        folder: With a tokenizer, such as that of a checkpoint.
        params: Its sections `model` and `rm` say how texts are read and what is done about findings.

    Raises:
        UserError: The tokenizer does not load or can't be used, or something is wrong in params.yaml.
    """
    model = read_section(params, "model", Model)
    rm = read_section(params, "rm", RewardTraining, defaults="training")
    tokenizer = open_tokenizer(folder)
    prepare_tokenizer(tokenizer, pooling=model.pooling, separator=model.separator, where=str(folder))
    encoder = Encoder(tokenizer, **model.model_dump())
    policies = rm.findings.model_dump()
    findings = lenient(policies, set_in="rm.findings")
    check = TokenCheck(encoder, findings, unknown_rate=rm.unknown_rate)
    check.look_at_tokenizer(str(folder))
    left = 0
    items = encoder.tokenize(
        ((one.query, one.responses) for one in drawn), where=str(folder), allow_blank=True
    )
    for one, tokenized in zip(drawn, items, strict=True):
        scores = one.scores or [0.0] * len(one.responses)
        stays = check.staying(Comparison(one.query, one.responses, scores, tokenized, one.where))
        left += len({scores[index] for index in stays}) > 1 if one.scores else bool(stays)
    lengths = check.lengths
    found = {
        "rows": len(drawn),
        "rows_left": left,
        "max_length": model.max_length,
        "longer": sum(count for length, count in lengths.sequences.items() if length > model.max_length),
        "query": quantiles(lengths.queries),
        "response": quantiles(lengths.responses),
        "sequence": quantiles(lengths.sequences),
        "histogram": lengths.histogram(),
    }
    return found, listed(findings, policies)
