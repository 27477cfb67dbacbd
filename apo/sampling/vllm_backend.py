"""vLLM as the sampler (`backend: vllm`); imported when the first query is sampled.

Each sample is a request with the ids of its prompt, the same as those of the transformers backend, and a seed
that depends only on run, query and sample index. The samples of a query are adjacent, so that prefix caching
reads its prompt once. End tokens and decoding are those of the transformers backend too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apo.chunks.resumable import Chunks
from apo.core.errors import UserError
from apo.model.vllm_engine import VLLM, check_one_process
from apo.sampling.generation import sample_seed
from apo.sampling.prompts import Prompt
from apo.sampling.settings import Sampling

Request = tuple[dict[str, Any], dict[str, Any]]  # prompt, arguments of SamplingParams

PARAMETER = "sample.PART.backend"
QUERIES = 256  # per chunk; all their samples are requested at once
TEMPERATURES = (0.01, 2.0)  # vLLM silently raises a lower temperature to 0.01 and refuses one above 2


def check_vllm(settings: Sampling) -> None:
    """Checks the settings of vLLM, before anything is started.

    Raises:
        UserError: The temperature is not in `TEMPERATURES`, or there are several processes, each of which
            would start vLLM.
    """
    if settings.backend != "vllm":
        return
    lowest, highest = TEMPERATURES
    if not lowest <= settings.temperature <= highest:
        raise UserError(
            "params.yaml: sample.PART.temperature",
            found=f"{settings.temperature:g}, and sample.PART.backend: vllm",
            expected=f"{lowest:g} to {highest:g}, which is what vLLM computes with",
            do="write one of these (top_k: 1 always takes the likeliest token), or backend: transformers",
        )
    check_one_process(PARAMETER)


def sample_with_vllm(
    llm: Path,
    prompts: Sequence[Prompt],
    settings: Sampling,
    *,
    seed: int,
    ends: Sequence[int],
    desc: str,
    chunks: Chunks,
) -> list[list[list[int]]]:
    """Like `apo.sampling.generation.sample_responses`, with the model in the folder `llm`.

    Raises:
        UserError: vLLM is not installed, or a request fails.
    """
    responses: list[list[list[int]]] = []
    with (
        tqdm(total=len(prompts), desc=desc, unit="query", disable=None) as progress,
        Engine(llm, settings) as engine,
    ):
        groups = [
            range(start, min(start + QUERIES, len(prompts))) for start in range(0, len(prompts), QUERIES)
        ]

        def sample(number: int) -> list[list[int]]:
            queries = [(prompts[i].ids, prompts[i].query_id) for i in groups[number]]
            return engine.answer(requests(queries, settings, seed=seed, ends=ends))

        keys = [[desc, indices.start, indices.stop] for indices in groups]
        for indices, drawn in zip(groups, chunks.values(keys, sample), strict=True):
            size = settings.num_samples
            responses += [drawn[first : first + size] for first in range(0, len(drawn), size)]
            progress.update(len(indices))
    return responses


def requests(
    prompts: Sequence[tuple[list[int], str]], settings: Sampling, *, seed: int, ends: Sequence[int]
) -> list[Request]:
    """One request per sample: the prompt in the form of vLLM, and the arguments of its SamplingParams.

    Args:
        prompts: Ids of the prompt and query_id of each query.
    """
    parameters = {
        "n": 1,
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "top_p": settings.top_p,
        "repetition_penalty": settings.repetition_penalty,
        "max_tokens": settings.max_new_tokens,
        "stop_token_ids": list(ends),
        "ignore_eos": True,  # stop_token_ids contains it
        "detokenize": False,
    }
    return [
        ({"prompt_token_ids": ids}, parameters | {"seed": seed_of(seed, query_id, index)})
        for ids, query_id in prompts
        for index in range(settings.num_samples)
    ]


def seed_of(seed: int, query_id: str, index: int) -> int:
    """The seed of one sample for a torch.Generator, at least 0 and below 2^63."""
    return sample_seed(seed, query_id, index) >> 1


def response_ids(output: Any, settings: Sampling, *, ends: Sequence[int]) -> list[int]:
    """The ids of a response up to its end token, from vLLM's output of one request.

    Raises:
        UserError: It has neither an end token nor `max_new_tokens` tokens.
    """
    [completion] = output.outputs
    ids = list(completion.token_ids)
    if completion.finish_reason == "stop" and ids and ids[-1] in ends:
        return ids
    if completion.finish_reason == "length" and len(ids) == settings.max_new_tokens:
        return ids
    raise UserError(
        "vLLM",
        found=f"a response of {len(ids)} tokens that ended by {completion.finish_reason!r}",
        expected="one that ends with an end token or has max_new_tokens",
        do="look at what vLLM printed, or set sample.PART.backend: transformers",
    )


class Engine(VLLM):
    """A language model that vLLM samples from."""

    def __init__(self, llm: Path, settings: Sampling) -> None:
        super().__init__(
            llm,
            parameter=PARAMETER,
            max_length=settings.max_prompt_tokens + settings.max_new_tokens,
            # no sampling settings from the checkpoint
            options={"generation_config": "vllm", "enable_prefix_caching": True},
            # between two chunks of a prompt the engine rewinds a seeded generator, which that of a CPU can't
            cpu_options={"enable_chunked_prefill": False},
        )
        self._settings = settings

    def __enter__(self) -> "Engine":
        return self

    def answer(self, batch: list[Request]) -> list[list[int]]:
        """The ids of the response to each request, in order; see `requests`.

        Raises:
            UserError: vLLM is not installed, does not start, or fails.
        """
        ends = batch[0][1]["stop_token_ids"]

        def generate(vllm: Any, llm: Any) -> list[Any]:
            parameters = [vllm.SamplingParams(**arguments) for _, arguments in batch]
            outputs: list[Any] = llm.generate([prompt for prompt, _ in batch], parameters, use_tqdm=False)
            return outputs

        return [response_ids(output, self._settings, ends=ends) for output in self.run(generate)]
