"""Synthetic dialogues with a known true reward, on which the demo runs."""

from apo.demo.parse_queries import Query
from apo.demo.preferences import best_accuracy, preference_probability
from apo.demo.reward import true_reward
from apo.demo.world import World

__all__ = ["Query", "World", "best_accuracy", "preference_probability", "true_reward"]
