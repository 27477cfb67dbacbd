"""benchmarks/scale.py: counts by hand, and that the page is what the command writes."""

import pytest

from benchmarks.scale import (
    BEGIN,
    END,
    GIB,
    PAGE,
    Rates,
    Text,
    parameters,
    shape_of,
    stage_hours,
    tables,
    tree_flops,
)

RATES = Rates(4.0e14, 2.0e12, 80 * GIB)


def test_parameters_by_hand() -> None:
    """LLaMA-7B has 6,738,415,616 weights; the projection to the vocabulary and the norms are left out."""
    assert parameters(shape_of("7B")) == 6_738_415_616 - 32_000 * 4_096 - 65 * 4_096


def test_tree_flops_are_two_per_weight_and_token_plus_attention() -> None:
    shape = shape_of("7B")
    weights = parameters(shape) - 32_000 * 4_096
    pairs = 100 * 100 / 2 + 2 * 10 * (100 + 5)
    assert tree_flops(shape, Text(100, 10), 2) == 2 * weights * 120 + 4 * 4_096 * 32 * pairs


def test_stage_hours_are_linear_in_comparisons_and_rates() -> None:
    shape, text = shape_of("1B"), Text(133, 45)
    once, ten = (stage_hours(shape, text, count, RATES) for count in (1000, 10_000))
    assert {name: 10 * hours for name, hours in once.items()} == pytest.approx(ten)
    twice = stage_hours(shape, text, 1000, Rates(8.0e14, 4.0e12, RATES.memory))
    assert twice == pytest.approx({name: hours / 2 for name, hours in once.items()})


def test_page_scale_is_what_the_command_writes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page[page.index(BEGIN) + len(BEGIN) : page.index(END)] == f"\n{tables(RATES)}\n"
