"""Pretraining of a small Llama on texts, with a tokenizer of its own."""

from collections import Counter
from pathlib import Path

from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.language.causal_lm import encode_documents, train_and_save
from apo.language.settings import Backbone
from apo.language.template_choice import choose_template
from apo.language.tokenizer import train_tokenizer
from apo.model import runtime
from apo.model.checkpoint import new_language_model
from apo.training.outputs import Outputs


def pretrain(
    name: str, source: Path, settings: Backbone, templates: Path, *, seed: int, outputs: Outputs
) -> None:
    """Trains a tokenizer and a model with random weights on texts, and saves the outputs.

    Args:
        name, source: See `apo.language.causal_lm.train_and_save`.
        seed: Seed of the weights and of the order of the texts.

    Raises:
        UserError: There are no texts, or too few for the tokenizer.
    """
    runtime.set_up()
    texts = [row["text"] for row in read_rows(source, "text")]
    if not texts:
        raise UserError(
            str(source),
            found="no texts",
            expected="texts to pretrain a backbone on",
            do="give training comparisons, or set backbone.start to the folder of a checkpoint",
        )
    tokenizer = train_tokenizer(texts, vocab_size=settings.vocab_size)
    choose_template(tokenizer, settings, templates, section="backbone")
    counts: Counter[str] = Counter()
    items = list(encode_documents(tokenizer, texts, max_length=settings.max_length, counts=counts))
    model = new_language_model(
        tokenizer,
        seed=seed,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.max_length,
        rope_theta=settings.rope_theta,
    )
    metrics = {
        "parameters": model.num_parameters(),
        "pretrained_here": True,
        "vocabulary_size": len(tokenizer),
    }
    train_and_save(
        name,
        model,
        tokenizer,
        items,
        settings,
        source=source,
        metrics=metrics,
        counts=counts,
        seed=seed,
        outputs=outputs,
    )
