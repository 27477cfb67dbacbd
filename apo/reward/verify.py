"""A saved reward model, loaded again: its rewards, and the ids of its chat template."""

import contextlib
from collections import Counter
from itertools import chain
from pathlib import Path

from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.model.chat_template import REFUSALS
from apo.model.checkpoint import load_reward_model
from apo.model.reward_model import RewardModel, rate

COMPARED = 32  # rows whose rewards a saved model is compared on
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.1}  # of the largest reward, at least of 1


def verify(model: RewardModel, folder: Path, comparisons: Path, *, dtype: str) -> dict[str, float]:
    """Loads a saved model again and compares rewards and chat template on the first rows of a file.

    Args:
        model: The trained model, in float32.
        folder: Its checkpoint.
        comparisons: The file.
        dtype: Of the stored weights.

    Returns:
        `rows_compared`; `chat_template_equal`, of how many the library's `apply_chat_template` gives exactly
        the ids that are scored, before any cut; and, where weights are stored in less than float32,
        `reward_change`, the largest difference that the storage makes.

    Raises:
        UserError: A reward differs by more than `TOLERANCE` of the spread of the rewards.
    """
    again = load_reward_model(folder).to(model.classifier.device)
    rows = [row for row, _ in zip(read_rows(comparisons), range(COMPARED), strict=False)]
    texts = [(row["query"], row["responses"]) for row in rows]
    read = list(model.encoder.tokenize(texts, Counter(), where=str(comparisons), allow_blank=True))
    kept = [(text, one) for text, one in zip(texts, read, strict=True) if one]
    items = [model.encoder.truncate(one, Counter()) for _, one in kept]
    before, after = list(chain(*rate(model, items))), list(chain(*rate(again, items)))
    gap = max((abs(x - y) for x, y in zip(before, after, strict=True)), default=0.0)
    if gap > TOLERANCE[dtype] * max(1.0, *map(abs, before)):
        raise UserError(
            str(folder),
            found=f"rewards that differ by {gap:.1e} after saving as {dtype} and loading",
            expected="the same rewards, up to the rounding of the stored weights",
            do="check that the backbone's weights are not tied to something that is not saved",
        )
    encoder, tokenizer, equal = again.encoder, again.encoder.tokenizer, 0
    for (query, responses), one in kept:
        messages = [*dialogue_to_messages(query), {"role": "assistant", "content": responses[0].strip()}]
        whole = (
            encoder.template.head + one.query + one.generation_prompt + one.responses[0] + encoder.turn_end
        )
        with contextlib.suppress(*REFUSALS):
            equal += list(tokenizer.apply_chat_template(messages, return_dict=False)) == whole
    change = {} if dtype == "float32" else {"reward_change": gap}
    return {"rows_compared": len(kept), "chat_template_equal": equal, **change}
