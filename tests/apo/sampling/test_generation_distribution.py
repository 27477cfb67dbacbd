"""apo/sampling/generation.py: tokens are drawn from the distribution that the model and the settings give."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from apo.sampling.generation import draw
from tests.helpers import tiny_models as tiny
from tests.helpers.sampled import PAD, QUERIES, greedy, peaked, prompt_ids, sample


def by_text(probabilities: torch.Tensor) -> dict[str, float]:
    """Probability of every text of one token: several tokens may read alike."""
    totals: dict[str, float] = {}
    for token, p in enumerate(probabilities.tolist()):
        text = tiny.shared_tokenizer().decode([token], skip_special_tokens=True)
        totals[text] = totals.get(text, 0.0) + p
    return totals


def chi_square(texts: list[str], expected: dict[str, float]) -> float:
    """p of the counts of the texts; those that are expected less than five times are one class."""
    counts, total = Counter(texts), len(texts)
    assert set(counts) <= set(expected)
    large = [text for text, p in expected.items() if p * total >= 5]
    assert len(large) >= 5
    seen = [counts[text] for text in large]
    hoped = [expected[text] * total for text in large]
    rest = total - sum(hoped)
    if rest > 1:
        seen, hoped = [*seen, total - sum(seen)], [*hoped, rest]
    return float(chisquare(seen, np.array(hoped) * sum(seen) / sum(hoped)).pvalue)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.2])
def test_first_token_is_drawn_from_the_softmax_at_the_temperature(temperature: float) -> None:
    model, query = peaked(), QUERIES[0]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt_ids(query[1])])).logits[0, -1]
    texts, _ = sample(model, [query], num_samples=2000, max_new_tokens=1, temperature=temperature)
    assert chi_square(texts["a"], by_text((logits / temperature).softmax(-1))) > 0.01
    for wrong in (temperature * 1.5, temperature / 1.5, 1 / temperature if temperature != 1.0 else 2.0):
        assert chi_square(texts["a"], by_text((logits / wrong).softmax(-1))) < 1e-6


def test_second_token_is_drawn_given_the_first() -> None:
    """With the cache, at the position that it has, by a number of its own."""
    model, query = peaked(), QUERIES[1]
    prompt, decode = prompt_ids(query[1]), tiny.shared_tokenizer().decode
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
        likely = [int(token) for token in logits.topk(4).indices if token > PAD]
        after = (
            model(input_ids=torch.tensor([[*prompt, token] for token in likely])).logits[:, -1].softmax(-1)
        )
    expected: dict[str, float] = {}
    for first, p_first, row in zip(likely, logits.softmax(-1)[likely].tolist(), after.tolist(), strict=True):
        for second, p in enumerate(row):
            text = decode([first, second], skip_special_tokens=True)
            expected[text] = expected.get(text, 0.0) + p_first * p
    sampled, _ = sample(model, [query], num_samples=4000, max_new_tokens=2)
    starts = tuple(decode([first]) for first in likely)
    others = [text for text in sampled["b"] if text not in expected]
    assert not any(text.startswith(starts) and text in expected for text in others)
    rest = 1 - sum(expected.values())
    texts = [text if text in expected else "another first token" for text in sampled["b"]]
    assert chi_square(texts, expected | {"another first token": rest}) > 0.01


def test_top_k_one_is_greedy() -> None:
    model = peaked(end=2.5)
    texts, counts = sample(model, top_k=1, max_new_tokens=10, num_samples=2, temperature=1.7)
    ended = 0
    for name, query in QUERIES:
        text, end = greedy(model, prompt_ids(query), 10)
        assert texts[name] == [text, text]
        ended += 2 * end
    assert counts["unfinished"] == 2 * len(QUERIES) - ended


def test_repetition_penalty_is_on_prompt_and_response() -> None:
    model = peaked()
    plain, _ = sample(model, top_k=1, max_new_tokens=10)
    texts, _ = sample(model, top_k=1, max_new_tokens=10, repetition_penalty=1.3)
    for name, query in QUERIES:
        assert texts[name][0] == greedy(model, prompt_ids(query), 10, penalty=1.3)[0]
    assert texts != plain


def test_top_p_keeps_the_likeliest_tokens_that_hold_it() -> None:
    model, query = peaked(), QUERIES[0]
    with torch.inference_mode():
        p, order = model(input_ids=torch.tensor([prompt_ids(query[1])])).logits[0, -1].softmax(-1).sort()
    kept = p.cumsum(-1) > 1 - 0.6  # the tail holds at most 1 - top_p
    nucleus = torch.zeros(380, dtype=p.dtype)
    nucleus[order[kept]] = p[kept] / p[kept].sum()
    assert 1 < int(kept.sum()) < 300
    texts, _ = sample(model, [query], num_samples=2000, max_new_tokens=1, top_p=0.6)
    expected = {text: value for text, value in by_text(nucleus).items() if value}
    assert chi_square(texts["a"], expected) > 0.01


def test_draw_by_hand() -> None:
    scores = torch.tensor([0.25, 0.5, 0.25]).log().expand(6, -1)
    uniform = torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 1e-12], dtype=torch.float64)
    assert draw(scores, uniform).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("vocab", [5, 64, 380, 8192])
def test_draw_inverts_the_cumulative_distribution(vocab: int) -> None:
    """The same as one search among all tokens, blocks or not."""
    generator = torch.Generator().manual_seed(1)
    scores = 4 * torch.randn(300, vocab, generator=generator, dtype=torch.double)
    scores[:, torch.rand(vocab, generator=generator) < 0.4] = -torch.inf
    scores[:, vocab // 2] = 1.0
    uniform = torch.rand(300, generator=generator, dtype=torch.double)
    cumulative = scores.softmax(-1).cumsum(-1)
    expected = (cumulative <= (uniform * cumulative[:, -1])[:, None]).sum(-1)
    assert torch.equal(draw(scores, uniform), expected)


def test_draw_never_takes_what_has_no_probability() -> None:
    scores = torch.tensor([-torch.inf, 1.0, -torch.inf, 0.3, -torch.inf])
    uniform = torch.tensor([0.0, 1.0 - 2**-53, *np.random.default_rng(0).random(500)], dtype=torch.float64)
    assert set(draw(scores.expand(502, -1), uniform).tolist()) == {1, 3}
