"""score: one RM gives a reward to every sample of every LLM query.

In: a reward model, which has to pass the gate (`apo/gate.py`), the samples of the LLM queries. Out:
`data/scores/RM.jsonl`, per query the rewards in the order of the samples, in full precision. Metrics: how
many, and the calibration error at the gate. Paper, section 4.1.
"""

from collections import Counter
from pathlib import Path

from apo import machine
from apo.checkpoints import fingerprint
from apo.config import Score, read_section
from apo.gate import check_calibration
from apo.models import load_reward_model
from apo.pieces import pieces_of
from apo.records import write_json, write_rows
from apo.scoring import score_samples
from apo.stage import run


def main(
    rm: str, model: Path, samples: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")
) -> None:
    settings = read_section(params, "score", Score)
    device = machine.set_up()
    reward_model = load_reward_model(model).to(device).eval()
    calibration = vars(reward_model.classifier.config).get("apo_calibration")
    gate = check_calibration(
        f"{rm}_rm", model, calibration, limit=settings.max_ece, bins=settings.max_ece_bins
    )
    counts: Counter[str] = Counter()
    with pieces_of(f"score_{rm}", fingerprint([settings.extra_answers], [model, samples])) as pieces:
        scored = score_samples(
            reward_model,
            samples,
            extra_answers=settings.extra_answers,
            what=f"score {rm}",
            counts=counts,
            pieces=pieces,
        )
        write_rows(out, scored)
    write_json(metrics, {f"score_{rm}": {**dict(sorted(counts.items())), **gate}})


if __name__ == "__main__":
    run(main)
