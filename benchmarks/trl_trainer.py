"""TRL's RewardTrainer on the same tokenized comparisons; only `train()` is timed.

A micro-batch has four comparisons, padded to its longest text. There is no evaluation, checkpoint, log or
progress bar. Gradient checkpointing, on by default, is off. Golden > 4 samples are four comparisons.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from apo.model.checkpoint import load_tokenizer
from benchmarks.jobs import COMPARISONS, Training, load_items, load_reward_model, pair

MICRO_BATCH = 4


def train(folder: Path, job: str, rows: int) -> Callable[[], float]:
    """A function that trains and returns the mean loss of its steps."""
    training = Training(load_items(folder, job, rows), job == "train_apo")
    pairs = [texts for items in training.steps() for item in items for texts in pair(item)]
    settings = training.settings
    trainer = RewardTrainer(
        model=load_reward_model(folder).classifier,
        args=RewardConfig(
            output_dir=tempfile.mkdtemp(dir=folder),
            per_device_train_batch_size=MICRO_BATCH,
            gradient_accumulation_steps=COMPARISONS // MICRO_BATCH,
            train_sampling_strategy="sequential",  # the steps of all implementations, in their order
            num_train_epochs=1,
            learning_rate=settings.lr,
            adam_beta2=settings.beta2,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            max_grad_norm=settings.max_grad_norm,
            gradient_checkpointing=False,
            max_length=512,
            bf16=False,
            use_cpu=True,
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
        processing_class=load_tokenizer(folder / "backbone"),
    )

    def run() -> float:
        return float(trainer.train().training_loss) * training.weight

    return run
