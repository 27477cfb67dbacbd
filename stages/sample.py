"""sample: the actor answers the queries of one part, or the source's own samples are taken.

In: the actor, the queries, the raw samples. Out: `data/samples/PART.jsonl`, per query its responses, cut at
a runaway human turn. Metrics: responses, cuts, blanks, length. Paper, section 4.1.
"""

from collections import Counter
from pathlib import Path

from apo import machine
from apo.checkpoints import fingerprint
from apo.config import Sampling, read_section, read_seed
from apo.generation import sample_responses
from apo.models import load_language_model, load_tokenizer
from apo.pieces import pieces_of
from apo.records import read_rows, write_json, write_rows
from apo.samples import counted, draw, from_source
from apo.stage import run


def main(
    part: str,
    actor: Path,
    queries: Path,
    raw: Path,
    out: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, f"sample.{part}", Sampling)
    counts: Counter[str] = Counter()
    seed = read_seed(params)
    asked = draw(read_rows(queries), at_most=settings.max_queries, seed=seed)
    if settings.origin == "source":
        rows = from_source(asked, read_rows(raw), where=str(raw))
    else:
        counts["source_samples_unused"] = sum(1 for _ in read_rows(raw))
        device = machine.set_up()
        with pieces_of(f"sample_{part}", fingerprint([settings, seed], [actor, queries])) as pieces:
            responses = sample_responses(
                load_language_model(actor).to(device).eval(),
                load_tokenizer(actor),
                [(row["query_id"], row["query"]) for row in asked],
                settings,
                seed=seed,
                device=device,
                what=f"sample {part}",
                counts=counts,
                pieces=pieces,
            )
        rows = ({**row, "samples": texts} for row, texts in zip(asked, responses, strict=True))
    write_rows(out, counted(rows, origin=settings.origin, counts=counts))
    write_json(metrics, {f"sample_{part}": dict(sorted(counts.items()))})


if __name__ == "__main__":
    run(main)
