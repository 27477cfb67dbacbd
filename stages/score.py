"""score: one RM gives a reward to every sample of every LLM query.

In: a reward model whose evaluation passes the gate (`apo/scoring/gate.py`), the samples of the LLM queries.
Out: `data/scores/ROUND/ARM.jsonl`, per query the rewards in the order of the samples, in full precision.
Instances: `score_base` (the base RM, the samples of its arm), `score` (the APO RM of the round, those of its
arm). Metrics: how many, and the calibration error at the gate. Paper, section 4.1.
"""

from collections import Counter
from pathlib import Path

from apo.chunks.resumable import open_chunks
from apo.core.cache import fingerprint
from apo.core.config import read_section
from apo.core.records import write_json, write_rows
from apo.core.stage import run
from apo.model import runtime
from apo.model.checkpoint import load_reward_model
from apo.model.reward_model import RewardModel
from apo.model.vllm_engine import vllm_versions
from apo.scoring.gate import check_calibration, read_calibration
from apo.scoring.rewards import score_samples
from apo.scoring.settings import Gate, Score
from apo.scoring.vllm_rewards import VLLMRewardModel


def main(
    name: str,
    model: Path,
    evaluation: Path,
    samples: Path,
    out: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings, gate = read_section(params, "score", Score), read_section(params, "gate", Gate)
    passed = check_calibration(model, read_calibration(evaluation), gate, source=str(evaluation))
    device = runtime.set_up()
    reward_model: RewardModel | VLLMRewardModel
    if settings.backend == "vllm":
        reward_model = VLLMRewardModel(model)
    else:
        reward_model = load_reward_model(model).to(device).eval()
    counts: Counter[str] = Counter()
    numerics = runtime.numerics() | vllm_versions(settings.backend)
    key = fingerprint([settings, numerics], [model, samples])
    with open_chunks(f"score_{name}", key) as chunks:
        scored = score_samples(
            reward_model,
            samples,
            extra_answers=settings.extra_answers,
            desc=f"score {name}",
            counts=counts,
            chunks=chunks,
        )
        write_rows(out, scored)
    write_json(metrics, {f"score_{name}": {**dict(sorted(counts.items())), **passed}})


if __name__ == "__main__":
    run(main)
