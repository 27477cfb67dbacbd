"""apo/alignment/train.py: DPO gives the losses, accuracies and margins of TRL's trainer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import tiny_models as tiny
from tests.helpers.alignment import policy, rankings, settings

Run = Callable[..., list[dict[str, float]]]


@pytest.mark.filterwarnings("ignore")  # of a library that the pipeline does not use
def test_align_by_dpo_equals_trl(run: Run, tmp_path: Path) -> None:
    """The same losses, accuracies and margins at every one of three steps."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    data = rankings()
    chosen = settings("dpo", epochs=3, lr=1e-3, max_grad_norm=1.0)
    trainer = DPOTrainer(
        model=tiny.language_model(),
        ref_model=tiny.language_model(),
        args=DPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=len(data),
            num_train_epochs=3,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            beta=0.2,
            max_length=64,
            adam_beta2=0.999,
            max_grad_norm=1.0,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=tiny.tokenizer(),
    )
    trainer.train_dataset = Dataset.from_list(  # in the place of a text: ids, as its collator takes them
        [
            {
                "prompt_ids": one.item.prefix,
                "chosen_ids": one.item.responses[0],
                "rejected_ids": one.item.responses[-1],
            }
            for one in data
        ]
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "loss" in row]
    curve = run(policy(), data, chosen)
    assert len(curve) == len(logged) == 3
    for step, row in zip(curve, logged, strict=True):
        assert step["loss"] == pytest.approx(row["loss"], abs=1e-5)
        assert step["reward_margin"] == pytest.approx(row["rewards/margins"], abs=1e-4)
    assert curve[-1]["reward_accuracy"] == pytest.approx(logged[-1]["rewards/accuracies"])
