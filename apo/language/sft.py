"""Supervised fine-tuning (SFT) of a language model on answers."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from apo.core.errors import UserError
from apo.language.causal_lm import encode_answers, train_and_save
from apo.language.settings import Actor
from apo.language.template_choice import choose_template
from apo.model import runtime
from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.model.encoders import language_encoder
from apo.model.encoding import ResponseSet
from apo.training.outputs import Outputs


def fine_tune(
    name: str,
    start: Path,
    answers: Sequence[tuple[str, str]],
    settings: Actor,
    templates: Path,
    *,
    source: Path,
    seed: int,
    outputs: Outputs,
) -> None:
    """Trains on (query, response) pairs, with the loss on the response only, and saves the outputs.

    Args:
        name, source: See `apo.language.causal_lm.train_and_save`.

    Raises:
        UserError: No answers are left to train on, or `start` is not a checkpoint.
    """
    runtime.set_up()
    tokenizer = load_tokenizer(start)
    choose_template(tokenizer, settings, templates, section="actor")
    model = load_language_model(start)
    encoder = language_encoder(start, tokenizer, max_length=settings.max_length, parameter="actor.max_length")
    counts: Counter[str] = Counter(queries_dropped_cut_away=0)
    items = list(encode_answers(encoder, answers, counts=counts, where=str(source)))
    _check_enough(items, counts, source=source)
    train_and_save(
        name,
        model,
        tokenizer,
        items,
        settings,
        start=start,
        source=source,
        metrics={},
        counts=counts,
        seed=seed,
        outputs=outputs,
    )


def _check_enough(items: Sequence[ResponseSet], counts: Counter[str], *, source: Path) -> None:
    if items:
        return
    dropped = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    raise UserError(
        str(source),
        found=f"no answers ({dropped})" if dropped else "no answers",
        expected="answers to fine-tune on, with room for their queries",
        do="name a file of answers under data.files.demonstrations, set a checkpoint of your own, or raise "
        "`actor.max_length`",
    )
