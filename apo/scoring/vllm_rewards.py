"""Rewards by vLLM's pooling runner (`score.backend: vllm`), so that several GPUs hold one reward model.

A request is a sequence of token ids, the same as those of the transformers backend. vLLM reads the reward
head of the checkpoint at the last token of each; its activation, a sigmoid by default, is off.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apo.chunks.resumable import Chunks, values_of
from apo.core.errors import UserError
from apo.model.checkpoint import load_reward_encoder
from apo.model.encoding import ResponseSet
from apo.model.vllm_engine import VLLM, check_one_process

PARAMETER = "score.backend"
QUERIES = 1024  # per chunk; all their responses are requested at once


class VLLMRewardModel:
    """A reward model of this pipeline that vLLM computes.

    Raises:
        UserError: The folder is not a reward model of this pipeline, it pools another token than the last
            one, or a launcher has started several processes.
    """

    def __init__(self, folder: Path) -> None:
        check_one_process(PARAMETER)
        self.encoder = load_reward_encoder(folder)
        if self.encoder.pooling not in ("last", "eos"):
            raise UserError(
                f"params.yaml: {PARAMETER}",
                found=f"vllm, for {folder} with pooling {self.encoder.pooling}",
                expected="a reward model with pooling last or eos, which is what vLLM computes",
                do=f"set {PARAMETER}: transformers, or train with model.pooling: last",
            )
        self._engine = VLLM(
            folder,
            parameter=PARAMETER,
            max_length=self.encoder.max_length,
            options={"runner": "pooling", "enable_prefix_caching": True},
            cpu_options={"enable_chunked_prefill": False},
        )

    def rewards_of(
        self,
        items: Iterable[ResponseSet],
        *,
        desc: str,
        total: int | None = None,
        chunks: Chunks | None = None,
    ) -> Iterator[list[float]]:
        """As `apo.scoring.rewards.rewards_of`."""
        stream, start = iter(items), 0
        with tqdm(total=total, desc=desc, unit="query", disable=None) as progress, self._engine:
            while window := list(islice(stream, QUERIES)):

                def compute(_: int, window: list[ResponseSet] = window) -> list[list[float]]:
                    return self._rewards(window)

                [rewards] = values_of([[desc, start, len(window)]], compute, chunks)
                start += len(window)
                progress.update(len(window))
                yield from rewards

    def _rewards(self, items: Sequence[ResponseSet]) -> list[list[float]]:
        sequences = [item.sequence(index) for item in items for index in range(len(item.responses))]

        def classify(vllm: Any, llm: Any) -> list[Any]:
            prompts = [{"prompt_token_ids": ids} for ids in sequences]
            parameters = vllm.PoolingParams(use_activation=False)
            outputs: list[Any] = llm.classify(prompts, pooling_params=parameters, use_tqdm=False)
            return outputs

        values = iter(reward_in(output) for output in self._engine.run(classify))
        return [[next(values) for _ in item.responses] for item in items]


def reward_in(output: Any) -> float:
    """The reward in vLLM's output of one request.

    Raises:
        UserError: It is not one finite number.
    """
    values = list(output.outputs.probs)  # logits, since the activation is off
    if len(values) != 1 or not abs(values[0]) < float("inf"):
        raise UserError(
            "vLLM",
            found=f"{values!r:.80} for a sequence",
            expected="one finite reward",
            do="look at what vLLM printed, or set score.backend: transformers",
        )
    return float(values[0])
