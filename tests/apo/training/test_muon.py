"""Muon is the library's, in float32."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from apo.training.muon import Muon, orthogonalize

SHAPES = [(8, 8), (8, 8), (24, 8), (8, 24), (5, 7)]


def _trained(kind: Any, *, steps: int, **settings: Any) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    optimizer = kind([{"params": parameters, "weight_decay": 0.1}], lr=0.02, **settings)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        optimizer.zero_grad()
    return [parameter.detach() for parameter in parameters]


def test_muon_takes_the_steps_of_the_library_without_its_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", lambda tensor: tensor.clone())
    library = _trained(torch.optim.Muon, steps=4, adjust_lr_fn="match_rms_adamw")
    for weight, theirs in zip(_trained(Muon, steps=4), library, strict=True):
        torch.testing.assert_close(weight, theirs, rtol=1e-5, atol=1e-6)


def test_muon_stays_within_the_rounding_of_the_library_in_bfloat16() -> None:
    start = _trained(Muon, steps=0)
    library = _trained(torch.optim.Muon, steps=4, adjust_lr_fn="match_rms_adamw")
    for weight, theirs, before in zip(_trained(Muon, steps=4), library, start, strict=True):
        assert (weight - theirs).norm() < 0.03 * (theirs - before).norm()


def test_orthogonalize_moves_singular_values_close_to_one() -> None:
    matrices = torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert values.min() > 0.5 and values.max() < 1.5


def test_orthogonalize_computes_each_matrix_by_itself() -> None:
    matrices = torch.randn(3, 12, 6, generator=torch.Generator().manual_seed(2))
    alone = torch.cat([orthogonalize(matrix[None]) for matrix in matrices])
    torch.testing.assert_close(orthogonalize(matrices), alone, rtol=1e-5, atol=1e-6)


def test_muon_leaves_a_matrix_without_gradient_as_it_is() -> None:
    first, second = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    first.grad = torch.eye(4)
    Muon([first, second], lr=0.1).step()
    assert not torch.equal(first, torch.ones(4, 4))
    assert torch.equal(second, torch.ones(4, 4))
