"""benchmarks/memory.py: the arithmetic by hand, and that a process of ZeRO-3 never holds the model whole."""

from pathlib import Path

import pytest

from apo.training.lora import add_adapters, trained_weights
from apo.training.settings import Lora
from benchmarks.memory import BEGIN, END, SIZES, adapter_weights, counted, make_backbone, measured
from benchmarks.scale import PAGE
from tests.helpers import tiny_models as tiny


def test_counted_bytes_by_hand() -> None:
    assert counted(100, 7.0, processes=1, trained=100, writes=True) == 1600 + 7
    assert counted(100, 7.0, processes=4, trained=100, writes=False) == 400 + 7
    assert counted(100, 7.0, processes=4, trained=100, writes=True) == 400 + 7 + 1200
    assert counted(100, 0.0, processes=2, trained=10, writes=True) == (360 + 160) / 2 + 120


def test_adapter_weights_counts_adapters_as_they_are(tmp_path: Path) -> None:
    model = tiny.reward_model(tmp_path / "b")
    add_adapters(model.classifier, Lora(rank=3, alpha=1.0, targets=[]), seed=1, where="lora")
    assert adapter_weights(tiny.SIZES, 3) == trained_weights(model)


def test_page_scale_has_a_row_for_each_process() -> None:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    rows = [
        line for line in rest.partition(END)[0].splitlines() if line.startswith("| ") and "MB" not in line
    ]
    assert [row.count("ZeRO-3, process") for row in rows[1:]] == [0, 1, 1, 0, 1, 1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sharding_halves_what_a_larger_model_adds(tmp_path: Path) -> None:
    """From loading to the saved state; what a process needs for models of any size falls out."""
    whole, held = [], []
    for layers in (2, 10):
        folder = tmp_path / str(layers)
        whole.append(4 * make_backbone(folder, SIZES | {"num_hidden_layers": layers}))
        held.append([process["private"] for process in measured(folder, "lora", parted=True, rank=2)])
    more = whole[1] - whole[0]
    assert more > 400e6 and len(held[0]) == len(held[1]) == 2
    for small, large in zip(*held, strict=True):
        assert 0.4 * more < large - small < 0.75 * more
