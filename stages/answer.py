"""answer: one LLM answers the test queries; the testing RM scores them, and the truth where it is known.

In: the LLM, the test queries, the testing RM, and the first actor for the KL to it (or, for the first actor
itself, the golden answers, which are scored beside it). Instances: `answer_actor`, `answer` (each arm).
Out: a folder with `NAME.jsonl`, every answer with its scores (and `golden.jsonl`). Metrics: score, true
reward, length, distinct-n, repetition, KL to the first actor; and what was counted while the answers were
drawn (`sampling`) and scored (`scoring`). Paper, section 4.2.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from apo.core.config import read_section, read_seed
from apo.core.records import read_rows, write_json, write_parts
from apo.core.stage import run
from apo.core.subset import golden_as_samples, subsample
from apo.evaluation.compare_llms import summarize, with_true_rewards
from apo.evaluation.kl import with_kl
from apo.evaluation.settings import Evaluate
from apo.model import runtime
from apo.model.checkpoint import load_language_model, load_reward_model, load_tokenizer
from apo.model.limits import check_same_tokens
from apo.sampling.backends import draw_samples
from apo.sampling.samples import counted, drawn_rows
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import check_vllm
from apo.scoring.rewards import score_answers


def main(
    name: str,
    llm: Path,
    queries: Path,
    test_rm: Path,
    truth: Path,
    out: Path,
    metrics: Path,
    actor: Path | None = None,
    golden: Path | None = None,
    params: Path = Path("params.yaml"),
) -> None:
    sampling = read_section(params, "sample.test", Sampling, defaults="sample.common")
    check_vllm(sampling)
    resamples = read_section(params, "evaluate", Evaluate).bootstrap
    seed, device = read_seed(params), runtime.set_up()
    known = bool(json.loads(truth.read_text(encoding="utf-8")))
    asked = subsample(read_rows(queries), max_queries=sampling.max_queries, seed=seed)
    counts: Counter[str] = Counter()
    encoder, prompts, responses = draw_samples(
        f"answer_{name}",
        llm,
        asked,
        sampling,
        source=queries,
        seed=seed,
        device=device,
        desc=f"answers of {name}",
        counts=counts,
    )
    arms = {name: list(counted(drawn_rows(encoder, prompts, responses), origin=name, counts=counts))}
    if golden:
        queries_asked = (prompt.row for prompt in prompts)
        arms |= golden_as_samples(queries_asked, read_rows(golden), name="golden", counts=counts)
    if actor:
        check_same_tokens(encoder.tokenizer, load_tokenizer(actor), where=str(llm), other=str(actor))
        model, first = (load_language_model(one).to(device).eval() for one in (llm, actor))
        arms[name] = with_kl(model, first, encoder, arms[name], desc=f"KL of {name}")
        del model, first  # before the testing RM is loaded beside them
    for row in arms[name]:
        row.pop("sample_ids", None)
        row.pop("uncut", None)
        row.pop("prompt_tokens", None)
    reward_model = load_reward_model(test_rm).to(device).eval()
    scoring: dict[str, Counter[str]] = {arm: Counter() for arm in arms}
    for arm, rows in arms.items():
        scored = score_answers(reward_model, rows, desc=f"score {arm}", key="scores", counts=scoring[arm])
        arms[arm] = with_true_rewards(scored) if known else scored
    write_parts(
        {arm: out / f"{arm}.jsonl" for arm in arms},
        ((arm, row) for arm, rows in arms.items() for row in rows),
    )
    summaries: dict[str, Any] = {
        arm: summarize(rows, seed=seed, resamples=resamples) | {"scoring": dict(sorted(scoring[arm].items()))}
        for arm, rows in arms.items()
    }
    summaries[name]["sampling"] = dict(sorted(counts.items()))
    write_json(metrics, {f"answer_{name}": summaries.pop(name) | summaries})


if __name__ == "__main__":
    run(main)
