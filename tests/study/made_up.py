"""Made-up rows of a study, in which the APO arm is better by a known amount."""

from typing import Any

from study.settings import games, read_settings

MEASURES = ("accuracy", "agreement", "nll", "ece", "valid_ece", "chosen", "share_of_best", "tau")
LLM = ("llm_true_reward", "llm_score", "llm_kl", "llm_words")
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
                    "start": {"random": -0.5, "best": 1.0, "golden_better": 0.9, "best_accuracy": 0.8},
                    "points": {
                        "chosen": {"base": point, "apo": {**point, "tone": 0.2 + lift}},
                        "answers": {"base_r1": point, "apo_r1": point},
                    },
                }
            )
    return rows
