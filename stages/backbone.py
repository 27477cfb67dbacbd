"""backbone: what every reward model and the actor start from, as LLaMA is in the paper.

In: `backbone.start`, a Hugging Face checkpoint in a folder, or texts on which a small Llama is pretrained
from scratch with its own sentencepiece tokenizer. Out: `models/backbone`, its training curve, metrics.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from apo.core.cache import fingerprint
from apo.core.config import read_section, read_seed
from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.core.stage import run
from apo.language.causal_lm import encode_documents, train_language_model
from apo.language.settings import Backbone
from apo.language.template_choice import choose_template
from apo.language.tokenizer import train_tokenizer
from apo.model import runtime
from apo.model.checkpoint import load_tokenizer, new_language_model
from apo.training.checkpointing import Checkpoints
from apo.training.outputs import Outputs, adopt_checkpoint, finish
from apo.training.trainer import warmup_metrics


def main(
    start_from: Path,
    templates: Path,
    out: Path,
    curves: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, "backbone", Backbone, defaults="training")
    to = Outputs(out, curves, metrics)
    if start_from.is_dir():
        tokenizer = load_tokenizer(start_from)
        said = {
            "pretrained_here": False,
            **choose_template(tokenizer, settings, templates, section="backbone"),
        }
        adopt_checkpoint("backbone", start_from, tokenizer, said, dtype=settings.dtype, to=to)
        return
    seed, device = read_seed(params), runtime.set_up()
    texts = [row["text"] for row in read_rows(start_from)]
    if not texts:
        raise UserError(
            str(start_from),
            found="no texts",
            expected="texts to pretrain a backbone on",
            do="give training comparisons, or set backbone.start to the folder of a checkpoint",
        )
    tokenizer = train_tokenizer(texts, vocab_size=settings.vocab_size)
    choose_template(tokenizer, settings, templates, section="backbone")
    counts: Counter[str] = Counter()
    items = list(encode_documents(tokenizer, texts, max_length=settings.max_length, counts=counts))
    model = _new_model(tokenizer, settings, seed=seed)
    with Checkpoints(
        "backbone", fingerprint([settings, seed, runtime.numerics()], [start_from])
    ).exclusive() as checkpoints:
        curve = train_language_model(
            model,
            items,
            settings,
            pad_id=tokenizer.pad_token_id,
            seed=seed,
            device=device,
            desc="backbone",
            checkpoints=checkpoints,
        )
        found = {"parameters": model.num_parameters(), "pretrained_here": True, "pieces": len(tokenizer)}
        found |= warmup_metrics(len(curve), settings)
        card = {"trained_on": {start_from: len(texts)}, "settings": settings.model_dump(exclude={"start"})}
        finish(
            "backbone",
            model,
            tokenizer,
            curve,
            found=found,
            counts=counts,
            card=card,
            dtype=settings.dtype,
            to=to,
        )
        checkpoints.remove_older()


def _new_model(tokenizer: Any, settings: Backbone, *, seed: int) -> Any:
    return new_language_model(
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


if __name__ == "__main__":
    run(main)
