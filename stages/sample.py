"""sample: the LLM of the last round answers the queries of one part, or the source's own samples are taken.

In: the LLM, the queries, the raw samples. Out: per query its responses.
Instances: `sample_rm` (RM queries, by the game's LLM), `sample` (LLM queries, by the LLM of each arm).
Metrics: responses, cuts, blanks, length. Paper, section 4.1.
"""

from collections import Counter
from pathlib import Path

from apo.core.config import read_section, read_seed
from apo.core.records import read_rows, write_json, write_rows
from apo.core.stage import run
from apo.core.subset import subsample
from apo.model import runtime
from apo.sampling.backends import draw_samples
from apo.sampling.samples import counted, drawn_rows, from_source, refuse_later_round
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import check_vllm


def main(
    name: str,
    part: str,
    llm: Path,
    queries: Path,
    raw: Path,
    out: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, f"sample.{part}", Sampling, defaults="sample.common")
    counts: Counter[str] = Counter()
    seed = read_seed(params)
    asked = subsample(read_rows(queries), max_queries=settings.max_queries, seed=seed)
    if settings.origin == "source":
        refuse_later_round(llm, part)
        rows = from_source(asked, read_rows(raw), counts, where=str(raw))
    else:
        check_vllm(settings)
        counts["source_samples_unused"] = sum(1 for _ in read_rows(raw))
        device = runtime.set_up()
        drawn = draw_samples(
            # The name is that of the part: in the first round both arms ask the same model, and the second
            # finds what the first one computed.
            f"sample_{part}",
            llm,
            asked,
            settings,
            source=queries,
            seed=seed,
            device=device,
            desc=f"sample {part}",
            counts=counts,
        )
        rows = drawn_rows(*drawn)
    write_rows(out, counted(rows, origin=settings.origin, counts=counts))
    write_json(metrics, {f"sample_{name}": dict(sorted(counts.items()))})


if __name__ == "__main__":
    run(main)
