"""Made-up rows of a study, in which the APO arm is better by a known amount."""

from typing import Any

import numpy as np

from study.settings import games, read_settings
from study.transfer import BASE_RM, RANDOM, TRUTH, apo_rm, retrained

MEASURES = ("accuracy", "agreement", "nll", "ece", "valid_ece", "chosen", "share_of_best", "tau")
LLM = ("llm_true_reward", "llm_score", "llm_kl", "llm_words")
GOLDEN = {"golden_better": 0.9, "golden_golden": 3.0, "golden_sample": -1.0}
POINTS = ("content", "instruction", "tone", "length", "rambling", "repetition", "form")


def made_up(seeds: int = 4, **lifts: float) -> list[dict[str, Any]]:
    """Rows of the sets method, sweep and confirmation; APO is better by 0.01 x (1 + 0.1 x seed).

    Args:
        seeds: The first seeds of the methods and the sweep.
        lifts: Another amount than 0.01, by the name of a game.
    """
    rows = []
    for line in games(read_settings().model_copy(update={"seeds": list(range(1, seeds + 1))})):
        for game in line:
            if game.kind in ("alignment", "comparisons", "model_size"):
                continue
            lift = lifts.get(game.name, 0.01) * (1 + 0.1 * game.seed)
            pairs = {name: [0.5, 0.5 + lift] for name in (*MEASURES, *LLM)}
            point = dict.fromkeys(POINTS, 0.1)
            rows.append(
                {
                    "kind": game.kind,
                    "name": game.name,
                    "seed": game.seed,
                    "seconds": 10.0,
                    "pairs": {"r1": pairs, "r2": pairs},
                    "start": {"random": -0.5, "best": 1.0, "best_accuracy": 0.8, **GOLDEN},
                    "points": {
                        "chosen": {"base": point, "apo": {**point, "tone": 0.2 + lift}},
                        "answers": {"base_r1": point, "apo_r1": point},
                    },
                }
            )
    return rows


COEFFICIENTS = [0.1, 2.0]
SMALL, TWO = map(apo_rm, COEFFICIENTS)
GAINS = {RANDOM: 0.0, BASE_RM: 0.4, SMALL: 0.5, TWO: 0.6, TRUTH: 1.2}
AGAIN = {retrained(BASE_RM, 101): 0.4, retrained(TWO, 101): 0.7, retrained(TWO, 102): 9.0}


def alignments(slope: float = 0.5, noise: float = 0.0, seeds: int = 8) -> list[dict[str, Any]]:
    """An LLM gains `slope` times what its targets gain; worlds differ by an offset, alignments by `noise`.

    The testing RM scores it the other way round. The actor is 0.1 above the LLM of random targets.
    """
    draw = np.random.default_rng(1)
    rows = []
    for seed in range(1, seeds + 1):
        for chooser, gain in (GAINS | AGAIN).items():
            for number in (1,) if "RM seed" in chooser else (1, 2, 3):
                reward = slope * gain + 0.2 * seed + noise * draw.normal()
                rows.append(
                    {
                        "targets": 400,
                        "method": "rjs",
                        "seed": seed,
                        "alignment_seed": 200 + number,
                        "chooser": chooser,
                        "target_true_reward": gain - 1.0 + 0.1 * seed,
                        "actor_true_reward": 0.2 * seed + 0.1,
                        "llm": {"true_reward": reward, "score": -reward},
                    }
                )
    return rows
