"""evaluate: who wins, by how much, judged by the testing RM and, in the demo, by the known true reward.

In: the actor's answers to the test queries, the aligned LLMs (which answer the same queries here), the
testing RM, the responses that each RM chose. Out: `data/evaluate/`, every answer with its scores.
Metrics: per LLM, per pair of LLMs, and (demo) the true reward of the chosen responses. Paper, section 4.2.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from apo import machine
from apo.arena import compare_all, selection_truth, summarise, with_true_rewards
from apo.checkpoints import fingerprint
from apo.config import Evaluate, Sampling, read_section, read_seed
from apo.generation import sample_responses
from apo.models import load_language_model, load_reward_model, load_tokenizer
from apo.pieces import pieces_of
from apo.records import read_rows, write_json, write_parts
from apo.samples import counted
from apo.scoring import score_answers
from apo.stage import run


def main(
    answers: Path,
    llm_base: Path,
    llm_apo: Path,
    judge: Path,
    rjs_base: Path,
    rjs_apo: Path,
    truth: Path,
    out: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, "evaluate", Evaluate)
    sampling = read_section(params, "sample.test", Sampling)
    seed, device = read_seed(params), machine.set_up()
    known = bool(json.loads(truth.read_text(encoding="utf-8")))

    arms = {"actor": list(read_rows(answers))}
    key = fingerprint([sampling, seed], [answers, llm_base, llm_apo, judge])
    with pieces_of("evaluate", key) as pieces:
        for name, folder in (("llm_base", llm_base), ("llm_apo", llm_apo)):
            responses = sample_responses(
                load_language_model(folder).to(device).eval(),
                load_tokenizer(folder),
                [(row["query_id"], row["query"]) for row in arms["actor"]],
                sampling,
                seed=seed,
                device=device,
                what=f"answers of {name}",
                counts=Counter(),
                pieces=pieces,
            )
            answered = (row | {"samples": texts} for row, texts in zip(arms["actor"], responses, strict=True))
            arms[name] = list(counted(answered, origin=name, counts=Counter()))

        reward_model = load_reward_model(judge).to(device).eval()
        for name, rows in arms.items():
            judged = score_answers(reward_model, rows, what=f"judge {name}", pieces=pieces)
            arms[name] = with_true_rewards(judged) if known else judged
    found: dict[str, Any] = {name: summarise(rows) for name, rows in arms.items()}
    found |= compare_all(arms, seed=seed, resamples=settings.bootstrap)
    if known:
        found["chosen"] = selection_truth(
            list(read_rows(rjs_base)), list(read_rows(rjs_apo)), seed=seed, resamples=settings.bootstrap
        )
    write_parts(
        {name: out / f"{name}.jsonl" for name in arms},
        ((name, row) for name, rows in arms.items() for row in rows),
    )
    write_json(metrics, {"evaluate": found})


if __name__ == "__main__":
    run(main)
