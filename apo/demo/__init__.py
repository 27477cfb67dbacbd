"""A small world of dialogues whose true reward is known: what the demo runs on."""

from apo.demo.parse_queries import Query
from apo.demo.preferences import best_accuracy, preference_probability
from apo.demo.reward import true_reward
from apo.demo.world import World

__all__ = ["Query", "World", "best_accuracy", "preference_probability", "true_reward"]
