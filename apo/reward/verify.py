"""Verification of a saved reward model: it is loaded again, and its rewards and token ids are compared."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.model.chat_template import REFUSALS, Rendered
from apo.model.checkpoint import load_reward_model
from apo.model.reward_model import RewardModel, compute_rewards

COMPARED = 32  # rows on which rewards are compared
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.1}  # relative to the largest |reward|, at least to 1


def verify(model: RewardModel, folder: Path, comparisons: Path, *, dtype: str) -> dict[str, float]:
    """Loads a saved model again and compares rewards and token ids on the first rows of a file.

    Rows that the chat template drops are passed over.

    Args:
        model: The trained model, in float32.
        dtype: The dtype of the stored weights.

    Returns:
        `rows_compared`; `chat_template_equal`, the number of rows for which `apply_chat_template` of
        transformers gives exactly the ids that are scored, without truncation; and, if the weights are stored
        in less than float32, `reward_change`, the largest difference of a reward.

    Raises:
        UserError: A reward is not finite, or differs by more than `TOLERANCE`.
    """
    reloaded = load_reward_model(folder).to(model.classifier.device)
    pairs = list(islice(_rendered(model, comparisons), COMPARED))
    items = [model.encoder.truncate(rendered, Counter()) for _, rendered in pairs]
    rewards = list(chain(*compute_rewards(model, items)))
    reloaded_rewards = list(chain(*compute_rewards(reloaded, items)))
    if not all(map(math.isfinite, rewards + reloaded_rewards)):
        raise UserError(
            str(folder),
            found="rewards that are not finite",
            expected="finite rewards",
            do="check the weights that it started from; if it was trained here, lower its learning rate",
        )
    difference = max((abs(a - b) for a, b in zip(rewards, reloaded_rewards, strict=True)), default=0.0)
    if difference > TOLERANCE[dtype] * max([1.0, *map(abs, rewards)]):
        raise UserError(
            str(folder),
            found=f"rewards that differ by {difference:.1e} after saving as {dtype} and loading",
            expected="the same rewards, up to the rounding of the stored weights",
            do="check that the backbone's weights are not tied to something that is not saved",
        )
    encoder, tokenizer, equal = reloaded.encoder, reloaded.encoder.tokenizer, 0
    for (query, responses), rendered in pairs:
        messages = [*dialogue_to_messages(query), {"role": "assistant", "content": responses[0].strip()}]
        prompt = encoder.template.head + rendered.query + rendered.generation_prompt
        ids = prompt + rendered.responses[0] + encoder.turn_end
        with contextlib.suppress(*REFUSALS):
            theirs = list(tokenizer.apply_chat_template(messages, return_dict=False))
            while theirs[-1:] == [tokenizer.pad_token_id]:  # which the library does not read
                theirs.pop()
            equal += theirs == ids
    change = {} if dtype == "float32" else {"reward_change": difference}
    return {"rows_compared": len(pairs), "chat_template_equal": equal, **change}


def _rendered(model: RewardModel, comparisons: Path) -> Iterator[tuple[tuple[str, list[str]], Rendered]]:
    """Query and responses of each row with their ids, without the rows that are dropped."""
    for row in read_rows(comparisons):
        text = (row["query"], row["responses"])
        [rendered] = model.encoder.tokenize([text], Counter(), where=str(comparisons), allow_blank=True)
        if rendered:
            yield text, rendered
