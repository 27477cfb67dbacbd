"""A checkpoint of the user as backbone or actor: it is copied with a chat template, without training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apo.core import distributed
from apo.language.settings import ChatModel
from apo.language.template_choice import choose_template
from apo.model import runtime
from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.model.limits import check_vocabulary
from apo.training.language_outputs import finish
from apo.training.outputs import Outputs


def adopt_language_model(
    name: str,
    start: Path,
    settings: ChatModel,
    templates: Path,
    *,
    metrics: Mapping[str, Any],
    outputs: Outputs,
) -> None:
    """Copies a language model with the chat template that `settings` choose, in rank 0.

    Args:
        name: The key of the metrics, and the section of params.yaml.
        metrics: Added to the number of parameters.

    Raises:
        UserError: It is no checkpoint, or tokenizer and model do not fit together.
    """
    tokenizer = load_tokenizer(start)
    template_metrics = choose_template(tokenizer, settings, templates, section=name)
    runtime.set_up()
    if not distributed.is_main_process():
        return
    model = load_language_model(start)
    check_vocabulary(tokenizer, model, where=str(start))
    finish(
        name,
        model,
        tokenizer,
        [{"step": 0}],
        metrics={"parameters": model.num_parameters(), **metrics, **template_metrics},
        counts={},
        card={"start": start},
        dtype=settings.dtype,
        outputs=outputs,
    )
