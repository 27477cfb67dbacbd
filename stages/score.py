"""score: one RM gives a reward to every sample of every LLM query.

In: a reward model, which has to pass the gate (`apo/measuring/gate.py`), the samples of the LLM queries. Out:
`data/scores/ROUND/ARM.jsonl`, per query the rewards in the order of the samples, in full precision.
Instances: `score_base` (the base RM, the samples of its arm), `score` (the APO RM of the round, those of its
arm). Metrics: how many, and the calibration error at the gate. Paper, section 4.1.
"""

from collections import Counter
from pathlib import Path

from apo import machine
from apo.config import Gate, RewardTraining, Score, read_part, read_section
from apo.measuring.gate import check_calibration
from apo.measuring.scoring import score_samples
from apo.model.checkpoint import load_reward_model
from apo.records import write_json, write_rows
from apo.resume.pieces import pieces_of
from apo.resume.states import fingerprint
from apo.stage import run


def main(
    name: str, model: Path, samples: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")
) -> None:
    settings = read_section(params, "score", Score)
    device = machine.set_up()
    reward_model = load_reward_model(model).to(device).eval()
    calibration = vars(reward_model.classifier.config).get("apo_calibration")
    limit = read_part(params, "rm", Gate, beside=RewardTraining)
    gate = check_calibration(name, model, calibration, limit=limit.max_ece, bins=limit.max_ece_bins)
    counts: Counter[str] = Counter()
    with pieces_of(f"score_{name}", fingerprint([settings], [model, samples])) as pieces:
        scored = score_samples(
            reward_model,
            samples,
            extra_answers=settings.extra_answers,
            what=f"score {name}",
            counts=counts,
            pieces=pieces,
        )
        write_rows(out, scored)
    write_json(metrics, {f"score_{name}": {**dict(sorted(counts.items())), **gate}})


if __name__ == "__main__":
    run(main)
