"""apo/language/causal_lm.py: which tokens cost what, the denominator, and that a text can be learned."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from apo.language.causal_lm import encode_answers, encode_documents, token_loss_sum, train_language_model
from apo.model.batching import IGNORED, collate_texts
from apo.model.encoding import Encoder, ResponseSet
from apo.training.checkpointing import Checkpoints
from tests.helpers import tiny_models as tiny

BOS, EOS, PAD = 1, 2, 3
QUERY = tiny.query("What is 1 plus 2?")


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Trains in place (each call is another training); the curve."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    numbers = iter(range(1000))

    def run(model: Any, items: list[ResponseSet], settings: Any, *, budget: int = 16384) -> Any:
        monkeypatch.setenv("APO_TOKEN_BUDGET", str(budget))
        with Checkpoints("lm", f"key{next(numbers)}").lock() as checkpoints:
            return train_language_model(
                model,
                items,
                settings,
                pad_id=PAD,
                seed=1,
                device=tiny.CPU,
                desc="lm",
                checkpoints=checkpoints,
            )

    return run


def answers(
    *pairs: tuple[str, str], max_length: int = 64, counts: Counter[str] | None = None
) -> list[ResponseSet]:
    counter: Counter[str] = Counter() if counts is None else counts
    encoder = Encoder(tiny.shared_tokenizer(), max_length, "last", "", "left", ends=(EOS,))
    return list(encode_answers(encoder, pairs, counts=counter, where="rows"))


def by_hand(model: Any, items: list[ResponseSet]) -> float:
    """Mean of -log p(token | all before it) over the tokens of the responses, one text after the other."""
    costs = []
    for item in items:
        ids = item.prefix + item.responses[0]
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        costs += [-logs[place - 1, ids[place]].item() for place in range(len(item.prefix), len(ids))]
    return sum(costs) / len(costs)


# The loss


def mixed() -> list[ResponseSet]:
    return answers(
        (QUERY, "3, my friend."),
        (tiny.query("Where did you eat?"), "At the café, which was naïve of me."),
        (tiny.query("9?"), "no"),
    )


@pytest.mark.parametrize("budget", [1, 16384])
def test_train_language_model_loss_of_a_step_by_hand(train: Callable[..., Any], budget: int) -> None:
    items = mixed()
    assert len({len(item.responses[0]) for item in items}) == 3  # a mean of means would be another number
    curve = train(tiny.language_model(), items, tiny.optimizer(), budget=budget)
    assert len(curve) == 1
    assert curve[0]["loss"] == pytest.approx(by_hand(tiny.language_model(), items), abs=1e-5)


def test_train_language_model_is_the_same_in_any_micro_batches(train: Callable[..., Any]) -> None:
    settings = tiny.optimizer(lr=1e-3, epochs=3)
    together, parts = tiny.language_model().double(), tiny.language_model().double()
    curve = train(together, mixed(), settings)
    again = train(parts, mixed(), settings, budget=1)
    assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in curve], rel=1e-6)
    for a, b in zip(together.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-7)


def test_token_loss_sum_by_hand() -> None:
    # Three tokens of a vocabulary of two: p(1) = 3/4 after the first, p(0) = 1/2 after the second.
    logits = torch.tensor([[[1.0, 3.0], [1.0, 1.0], [1.0, 9.0]]]).log()
    labels = torch.tensor([[0, 1, 0]])
    assert token_loss_sum(logits, labels).item() == pytest.approx(-torch.tensor(0.75 * 0.5).log().item())
    labels[0, 1] = IGNORED
    assert token_loss_sum(logits, labels).item() == pytest.approx(-torch.tensor(0.5).log().item())
    labels[0, 2] = IGNORED
    assert token_loss_sum(logits, labels).item() == 0.0


def test_encode_answers_labels_the_response_and_its_end_alone() -> None:
    items = [ResponseSet([BOS, 10, 11], [[20, 21, EOS]]), ResponseSet([BOS], [[30, EOS]])]
    ids, attention, labels = collate_texts(items, pad_id=PAD)
    assert ids.tolist() == [[BOS, 10, 11, 20, 21, EOS], [BOS, 30, EOS, PAD, PAD, PAD]]
    assert attention.int().tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    no = IGNORED
    assert labels.tolist() == [[no, no, no, 20, 21, EOS], [no, 30, EOS, no, no, no]]


def test_token_loss_sum_ignores_prompt_tokens() -> None:
    """With the logits over the prompt changed the loss is the same."""
    items = mixed()
    ids, attention, labels = collate_texts(items, pad_id=PAD)
    with torch.no_grad():
        logits = tiny.language_model()(input_ids=ids, attention_mask=attention).logits
    changed = logits.clone()
    for row, item in enumerate(items):
        changed[row, : len(item.prefix) - 1] = torch.linspace(-7.0, 7.0, 380)
        changed[row, item.longest - 1 :] = 100.0  # what follows the end token, and padding
    assert token_loss_sum(changed, labels).item() == token_loss_sum(logits, labels).item()
    changed[0, len(items[0].prefix) - 1, 5] += 10.0  # the place that predicts the first answer token
    assert token_loss_sum(changed, labels).item() > token_loss_sum(logits, labels).item() + 1


# What is encoded


def test_encode_documents_gives_bos_text_eos() -> None:
    counts: Counter[str] = Counter()
    text = tiny.SUMS[12]
    [item] = encode_documents(tiny.shared_tokenizer(), [text], max_length=64, counts=counts)
    ids = tiny.shared_tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert item == ResponseSet([BOS], [[*ids, EOS]])
    assert counts == {"documents": 1, "documents_cut": 0, "tokens": len(ids) + 1}


def test_encode_documents_cuts_on_the_right_and_counts() -> None:
    counts: Counter[str] = Counter()
    text = tiny.SUMS[12]
    ids = tiny.shared_tokenizer()(text, add_special_tokens=False)["input_ids"]
    for missing in (0, 1):
        max_length = len(ids) + 2 - missing  # BOS and EOS
        [item] = encode_documents(tiny.shared_tokenizer(), [text], max_length=max_length, counts=counts)
        assert item.longest == max_length
        assert item.responses[0] == [*ids[: len(ids) - missing], EOS]
        assert counts["documents_cut"] == missing


def test_encode_documents_takes_a_written_end_token_for_text() -> None:
    texts = ["a </s> b"]
    [item] = encode_documents(tiny.shared_tokenizer(), texts, max_length=64, counts=Counter())
    assert item.responses[0].count(EOS) == 1


def test_encode_answers_gives_query_response_and_end() -> None:
    counts: Counter[str] = Counter()
    [item] = answers((QUERY, " 3, my friend. "), counts=counts)
    tokenizer = tiny.shared_tokenizer()
    assert item.prefix[0] == BOS
    assert tokenizer.decode(item.prefix[1:]) == QUERY
    assert tokenizer.decode(item.responses[0][:-1]) == " 3, my friend." and item.responses[0][-1] == EOS
    [short] = answers((QUERY, "3, my friend."), max_length=item.longest - 2, counts=counts)
    assert short == ResponseSet([BOS, *item.prefix[3:]], item.responses)  # the query's beginning goes first
    assert (counts["items"], counts["queries_cut"], counts["queries_dropped_cut_away"]) == (2, 1, 0)


def test_encode_answers_never_cuts_an_answer() -> None:
    """Where no token of its query is left, the pair is left out and counted."""
    counts: Counter[str] = Counter()
    pairs = (QUERY, "3, my friend."), (tiny.query("9?"), "no")
    long, short = answers(*pairs)
    room = len(long.responses[0]) + 3  # BOS, one token of the query, the turn mark
    first, second = answers(*pairs, max_length=room, counts=counts)
    assert first == ResponseSet([BOS, *long.prefix[-2:]], long.responses) and second == short
    assert answers(*pairs, max_length=room - 1, counts=counts) == [short]
    assert (counts["items"], counts["queries_cut"], counts["queries_dropped_cut_away"]) == (3, 1, 1)
    assert counts["responses_cut"] == 0


def test_encode_answers_drops_a_refused_dialogue() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system text') }}{% endif %}"
        "{% for m in messages %}{{ bos_token + m['role'] + ':' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token + 'assistant:' }}{% endif %}"
    )
    tokenizer.init_kwargs["refused_dialogues"] = "drop"
    encoder, counts = Encoder(tokenizer, 64, "last", "", "left", ends=(EOS,)), Counter[str]()
    pairs = [("Be brief." + QUERY, "3"), (QUERY, "3")]
    [item] = encode_answers(encoder, pairs, counts=counts, where="rows")
    assert item.responses[0][-1] == EOS
    assert (counts["dialogues_dropped"], counts["items"]) == (1, 1)


# Learning


def test_train_language_model_learns_a_text_by_heart(train: Callable[..., Any]) -> None:
    model = tiny.language_model()
    items = answers((QUERY, "3, my friend."), (tiny.query("Where did you eat?"), "no"))
    curve = train(model, items, tiny.optimizer(lr=1e-2, epochs=40))
    assert curve[0]["loss"] > 5.5 and curve[-1]["loss"] < 0.05  # ln 380 = 5.9 at the start
    for item in items:
        ids = list(item.prefix)
        for _ in item.responses[0]:
            with torch.no_grad():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert ids == item.prefix + item.responses[0]
