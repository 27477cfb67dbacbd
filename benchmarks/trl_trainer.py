"""TRL's RewardTrainer on the same tokenized comparisons; only `train()` is timed.

A micro-batch has four comparisons, padded to its longest text. There is no evaluation, checkpoint, log or
progress bar. Gradient checkpointing, on by default, is off. Golden > 4 samples are four comparisons.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from apo.model.checkpoint import load_tokenizer
from benchmarks.jobs import COMPARISONS, Training, load_items, load_reward_model, pair

MICRO_BATCH = 4


def reward_trainer(
    classifier: Any,
    tokenizer: Any,
    training: Training,
    folder: Path,
    *,
    micro_batch: int = MICRO_BATCH,
    on_cpu: bool = True,
    bf16: bool = False,
) -> RewardTrainer:
    """The trainer of a job, in the optimizer steps of all implementations.

    Args:
        classifier: Trained in place, with float32 weights.
        tokenizer: Its tokenizer.
        training: The items, steps and settings.
        folder: An existing folder for what the trainer may write.
        micro_batch: Comparisons of a micro-batch.
        on_cpu: Whether it trains on the CPU although there may be a GPU.
        bf16: Whether layers compute in bf16.
    """
    pairs = [texts for items in training.steps() for item in items for texts in pair(item)]
    settings = training.settings
    return RewardTrainer(
        model=classifier,
        args=RewardConfig(
            output_dir=tempfile.mkdtemp(dir=folder),
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=COMPARISONS // micro_batch,
            train_sampling_strategy="sequential",  # the steps of all implementations, in their order
            num_train_epochs=1,
            learning_rate=settings.lr,
            adam_beta2=settings.beta2,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            max_grad_norm=settings.max_grad_norm,
            gradient_checkpointing=False,
            max_length=512,
            bf16=bf16,
            use_cpu=on_cpu,
            dataloader_num_workers=0,
            eval_strategy="no",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict(
            {"chosen_ids": [chosen for chosen, _ in pairs], "rejected_ids": [ids for _, ids in pairs]}
        ),
        processing_class=tokenizer,
    )


def train(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """A function that trains and returns the mean loss of its steps."""
    training = Training(load_items(folder, job, rows), job == "train_apo")
    classifier, tokenizer = load_reward_model(folder).classifier, load_tokenizer(folder / "backbone")
    trainer = reward_trainer(classifier, tokenizer, training, folder)

    def run() -> float:
        return float(trainer.train().training_loss) * training.weight

    return run
