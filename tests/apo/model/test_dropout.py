"""apo/model/dropout.py: no rate of any family is left, and no training has dropout."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, OPTConfig

from apo.model.dropout import switch_off_dropout
from apo.training.checkpointing import Checkpoints
from apo.training.trainer import training_loop
from tests.helpers import tiny_models as tiny

SIZES = {"vocab_size": 380, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS = {
    "gpt2": GPT2Config(vocab_size=380, n_embd=32, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0.5),
    "llama": LlamaConfig(**SIZES, intermediate_size=64, attention_dropout=0.5),
    "opt": OPTConfig(
        **SIZES,
        word_embed_proj_dim=32,
        ffn_dim=64,
        max_position_embeddings=64,
        dropout=0.5,
        attention_dropout=0.5,
        layerdrop=0.5,
    ),
}


@pytest.mark.parametrize("family", MODELS)
def test_switch_off_dropout_leaves_none(family: str) -> None:
    model = AutoModelForCausalLM.from_config(MODELS[family]).train()
    ids = torch.arange(20)[None]
    assert not torch.equal(model(ids).logits, model(ids).logits)
    switch_off_dropout(model)
    assert torch.equal(model(ids).logits, model.eval()(ids).logits)


def test_training_loop_has_no_dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 1))
    with Checkpoints("test", "a").lock() as checkpoints:
        curve = training_loop(
            model,
            tiny.optimizer(schedule="constant", warmup_steps=0, lr=1.0e-12),
            batches=[[0], [0]],
            lengths=[1],
            loss_of=lambda items, micro: {"loss": model(torch.ones(1, 8)).square().sum()},
            desc="test",
            checkpoints=checkpoints,
        )
    assert curve[0]["loss"] == pytest.approx(curve[1]["loss"], rel=1e-5)
