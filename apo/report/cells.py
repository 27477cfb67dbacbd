"""Values as the text of a cell, with their 95 % intervals."""

from collections.abc import Mapping
from typing import Any

Metrics = Mapping[str, Any]


def number(value: Any) -> str:
    """A value as text: three decimals, thousands separators, small numbers in scientific notation."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1e}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"


def interval(metrics: Metrics, key: str) -> str:
    """A value with its 95 % interval, if it has one.

    >>> interval({"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75}, "accuracy")
    '0.500 (0.250 to 0.750)'
    >>> interval({"nll": 0.5}, "nll"), interval({}, "nll")
    ('0.500', '')
    """
    low, high = bounds(metrics, key)
    if key not in metrics or not (low and high):
        return number(metrics.get(key))
    return f"{number(metrics[key])} ({number(metrics[low])} to {number(metrics[high])})"


def signed_difference(comparison: Metrics, key: str = "difference") -> str:
    """A difference with its sign, and with its 95 % interval if it has one.

    >>> signed_difference({"difference": 0.5, "low": -0.25, "high": 1.25})
    '+0.500 (-0.250 to +1.250)'
    """
    low, high = bounds(comparison, key)
    if key not in comparison:
        return ""
    text = f"{comparison[key]:+.3f}"
    return f"{text} ({comparison[low]:+.3f} to {comparison[high]:+.3f})" if low and high else text


def bounds(metrics: Metrics, key: str) -> tuple[str | None, str | None]:
    """The keys of the interval of a value, (None, None) if it has none."""
    prefix = key.removesuffix("_mean")
    for low, high in ((f"{key}_low", f"{key}_high"), (f"{prefix}_low", f"{prefix}_high")):
        if low in metrics and high in metrics:
            return low, high
    if key == "difference" and "low" in metrics and "high" in metrics:
        return "low", "high"
    return None, None
