"""The token issues of a file, as `rm.on_issue` would handle them, without a run of the pipeline."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from apo.core.config import read_section
from apo.core.records import Row
from apo.inspection.contents import Issue, Texts, list_issues, quantiles, tolerant_issues
from apo.language.settings import Backbone
from apo.language.template_choice import choose_template
from apo.model.chat_template import REFUSED, REFUSED_KEY
from apo.model.checkpoint import names_classifier, open_tokenizer
from apo.model.encoders import reward_encoder
from apo.model.settings import Model
from apo.reward.settings import RewardTraining
from apo.reward.token_checks import Comparison, TokenCheck
from apo.reward.token_issues import TOKEN_ISSUES


def token_report(rows: Sequence[Texts], *, folder: Path, params: Path) -> tuple[Row, list[Issue]]:
    """Lengths in tokens, the number of rows left for training, and the issues with their actions.

    Args:
        folder: A folder with a tokenizer, such as a checkpoint.
        params: Its sections `model` and `rm` set the encoding and the actions.

    Raises:
        UserError: The tokenizer does not load or can't be used, or params.yaml is wrong.
    """
    model = read_section(params, "model", Model)
    rm = read_section(params, "rm", RewardTraining, defaults="training")
    tokenizer = open_tokenizer(folder)
    actions = rm.on_issue.actions()
    issues = tolerant_issues(TOKEN_ISSUES, actions)
    # A checkpoint of this pipeline has settings of its own, and a reward model keeps its template.
    if REFUSED not in tokenizer.init_kwargs and not names_classifier(folder):
        backbone = read_section(params, "backbone", Backbone, defaults="training")
        choose_template(tokenizer, backbone, Path("data/chat_templates"), section="backbone")
    on_refusal = tokenizer.init_kwargs.get(REFUSED, "error")
    if on_refusal == "error":
        tokenizer.init_kwargs[REFUSED] = "drop"  # an error would end the report
    encoder = reward_encoder(tokenizer, model, where=str(folder))
    check = TokenCheck(encoder, issues, unknown_rate=rm.unknown_rate)
    check.check_tokenizer(str(folder))
    rows_left, counts = 0, Counter(dialogues_dropped=0)
    response_sets = encoder.tokenize(
        ((row.query, row.responses) for row in rows), counts, where=str(folder), allow_blank=True
    )
    for row, response_set in zip(rows, response_sets, strict=True):
        if response_set is None:
            continue
        scores = row.scores or [0.0] * len(row.responses)
        kept_indices = check.kept_responses(
            Comparison(row.query, row.responses, scores, response_set, row.where)
        )
        rows_left += len({scores[index] for index in kept_indices}) > 1 if row.scores else bool(kept_indices)
    lengths = check.lengths
    by_name = {"query": lengths.queries, "response": lengths.responses, "sequence": lengths.sequences}
    metrics = {
        "rows": len(rows),
        "rows_left": rows_left,
        "refused_by_chat_template": counts["dialogues_dropped"],
        "merged_for_chat_template": counts["dialogues_merged"],
        "max_length": model.max_length,
        "longer": sum(count for length, count in lengths.sequences.items() if length > model.max_length),
        **{name: quantiles(counted) for name, counted in by_name.items() if counted},
        "histogram": lengths.histogram(),
    }
    found = list_issues(issues, actions)
    if refused := counts["dialogues_dropped"]:
        advice = f"set {REFUSED_KEY} to merge or drop, or name another chat template"
        found.append(Issue("refused_by_chat_template", on_refusal, refused, advice=advice))
    return metrics, found
