"""A small world of dialogues whose true reward is known: what the demo runs on."""

from apo.world.preferences import best_accuracy, preference_probability
from apo.world.reading import Query
from apo.world.reward import true_reward
from apo.world.world import World

__all__ = ["Query", "World", "best_accuracy", "preference_probability", "true_reward"]
