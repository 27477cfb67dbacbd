"""sampling/generation.py: samples are draws from the model, each a function of seed, query and index alone.

The models are in float64 here. In float32 the last bits of a logit depend on the rows beside it, so that a
draw that falls within about 1e-7 of the border between two tokens can come out as the other one: about one
text in 100,000 of a hundred tokens may differ from batch to batch.
"""

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from apo.model.encoding import Encoder
from apo.model.hh_template import hh_template
from apo.sampling.generation import _generator, draw, sample_responses
from apo.sampling.prompts import encode_prompts
from tests.helpers import tiny_models as tiny

EOS, PAD = 2, 3
QUERIES = [
    ("a", tiny.query("What is 1 plus 2?")),
    ("b", tiny.query("Where?")),
    ("c", tiny.query("Tell me a story about a good dog, a brown fox and a lazy friend of 12345.")),
    ("d", tiny.query("What is 3 plus 4?")),
    ("e", tiny.query("9")),
]


def peaked(*, end: float = 1.0, pad: float = 1.0) -> Any:
    """A model that prefers some tokens, others at other places; `end` and `pad` scale their logits.

    It says no single bytes, so that a text is the sum of its tokens.
    """
    model = tiny.language_model().double()
    with torch.no_grad():
        for name, parameter in model.model.layers.named_parameters():
            parameter *= 10.0 if "norm" not in name else 1.0  # what stands before a token, and where, counts
    head = 0.4 * torch.randn(380, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    head[EOS] *= end
    head[PAD] *= pad
    chunks = tiny.shared_tokenizer().convert_ids_to_tokens(range(380))
    bias = [-1000.0 if piece.startswith("<0x") else 0.0 for piece in chunks]
    model.lm_head.bias = torch.nn.Parameter(torch.tensor(bias, dtype=torch.float64))
    model.lm_head.weight = torch.nn.Parameter(head)  # not the embeddings: they would say the last token again
    return model


def drawn(
    model: Any, queries: Any = QUERIES, *, seed: int = 1, ends: tuple[int, ...] = (EOS,), **settings: Any
) -> tuple[list[list[list[int]]], Counter[str]]:
    """The ids that are drawn for each query, and the counts."""
    counts: Counter[str] = Counter()
    tokenizer = settings.pop("tokenizer", tiny.shared_tokenizer())
    chosen = tiny.sampling(**settings)
    encoder = Encoder(tokenizer, chosen.max_prompt_tokens, "last", "", "left", ends=ends)
    rows = [{"query_id": name, "query": query} for name, query in queries]
    prompts = encode_prompts(encoder, rows, counts, where="rows")
    return sample_responses(model, prompts, chosen, seed=seed, ends=ends, desc="sample"), counts


def sample(model: Any, queries: Any = QUERIES, **settings: Any) -> tuple[Any, Counter[str]]:
    """Responses by query id as they are decoded, and the counts, with `unfinished`."""
    found, counts = drawn(model, queries, **settings)
    counts["unfinished"] += sum(row[-1] != EOS for rows in found for row in rows)
    read = tiny.shared_tokenizer().batch_decode
    return {
        name: read(rows, skip_special_tokens=True) for (name, _), rows in zip(queries, found, strict=True)
    }, counts


def prompt_ids(text: str) -> list[int]:
    ids: list[int] = tiny.shared_tokenizer()(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return [1, *ids]


def greedy(model: Any, prompt: list[int], steps: int, penalty: float = 1.0) -> tuple[str, bool]:
    """The likeliest token again and again, the whole text read anew each time; and whether it ended."""
    ids = list(prompt)
    while len(ids) < len(prompt) + steps:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1].clone()
        for token in set(ids):
            logits[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
        ids.append(int(logits.argmax()))
        if ids[-1] == EOS:
            break
    drawn = ids[len(prompt) :]
    return tiny.shared_tokenizer().decode(drawn, skip_special_tokens=True), drawn[-1] == EOS


# What a text depends on


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_neighbours_and_order_and_budget_do_not_count(
    penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows end early, prompts differ in length, and the padding token is a likely one."""
    model = peaked(end=2.5, pad=3.0)
    settings = {"repetition_penalty": penalty, "max_new_tokens": 16, "num_samples": 4}
    expected, counts = sample(model, **settings)
    assert 0 < counts["unfinished"] < 20
    assert len({text for texts in expected.values() for text in texts}) > 10
    for query in QUERIES:
        alone, _ = sample(model, [query], **settings)
        assert alone[query[0]] == expected[query[0]]
    for order in ([4, 0, 3, 1, 2], [2, 1]):
        found, _ = sample(model, [QUERIES[i] for i in order], **settings)
        assert found == {QUERIES[i][0]: expected[QUERIES[i][0]] for i in order}
    for budget in ("1", "300"):
        monkeypatch.setenv("APO_SAMPLE_BUDGET", budget)
        found, again = sample(model, **settings)
        assert (found, again) == (expected, counts)


def test_more_samples_leave_the_first_ones() -> None:
    few, _ = sample(peaked(), num_samples=2)
    more, _ = sample(peaked(), num_samples=5)
    assert {name: texts[:2] for name, texts in more.items()} == few


def test_a_shorter_limit_gives_the_beginning() -> None:
    long, _ = sample(peaked(), max_new_tokens=12)
    short, _ = sample(peaked(), max_new_tokens=5)
    for name, texts in long.items():
        for whole, part in zip(texts, short[name], strict=True):
            assert whole.startswith(part)


def test_seed_query_id_and_index_count() -> None:
    base, _ = sample(peaked(), num_samples=4)
    again, _ = sample(peaked(), num_samples=4)
    assert again == base
    assert all(len(set(texts)) == 4 for texts in base.values())
    other, _ = sample(peaked(), num_samples=4, seed=2)
    renamed, _ = sample(peaked(), [("other", QUERIES[0][1])], num_samples=4)
    assert not set(base["a"]) & set(other["a"])
    assert not set(base["a"]) & set(renamed["other"])


def test_the_global_random_state_neither_counts_nor_changes() -> None:
    torch.manual_seed(1)
    base, _ = sample(peaked())
    torch.manual_seed(2)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert sample(peaked())[0] == base
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before


def test_settings_that_came_with_the_checkpoint_do_not_count() -> None:
    model = peaked()
    base, _ = sample(model)
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.top_k = 1
    model.generation_config.no_repeat_ngram_size = 1
    assert sample(model)[0] == base


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_a_text_is_what_its_numbers_draw_when_it_is_read_anew_for_each_token(
    sharing: bool, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the prompts shared by their samples, and with a copy for each."""
    if not sharing:
        monkeypatch.setattr("apo.sampling.kv_cache.SHARING", ())
    model = peaked(end=2.5, pad=3.0)
    found, _ = sample(model, num_samples=3, max_new_tokens=12, temperature=1.3, repetition_penalty=penalty)
    for name, query in QUERIES:
        for index in range(3):
            ids = prompt = prompt_ids(query)
            for number in _generator(1, name, index).random(12):
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([ids])).logits[0, -1].clone()
                for token in set(ids):
                    logits[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
                cumulative = (logits / 1.3).softmax(-1).cumsum(-1)
                ids = [*ids, int((cumulative <= number * cumulative[-1]).sum())]
                if ids[-1] == EOS:
                    break
            text = tiny.shared_tokenizer().decode(ids[len(prompt) :], skip_special_tokens=True)
            assert found[name][index] == text


# The distribution


def by_text(probabilities: torch.Tensor) -> dict[str, float]:
    """Probability of every text of one token: several tokens may read alike."""
    found: dict[str, float] = {}
    for token, p in enumerate(probabilities.tolist()):
        text = tiny.shared_tokenizer().decode([token], skip_special_tokens=True)
        found[text] = found.get(text, 0.0) + p
    return found


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
def test_the_first_token_is_drawn_from_softmax_of_logits_over_temperature(temperature: float) -> None:
    model, query = peaked(), QUERIES[0]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt_ids(query[1])])).logits[0, -1]
    found, _ = sample(model, [query], num_samples=2000, max_new_tokens=1, temperature=temperature)
    assert chi_square(found["a"], by_text((logits / temperature).softmax(-1))) > 0.01
    for wrong in (temperature * 1.5, temperature / 1.5, 1 / temperature if temperature != 1.0 else 2.0):
        assert chi_square(found["a"], by_text((logits / wrong).softmax(-1))) < 1e-6


def test_the_second_token_is_drawn_given_the_first() -> None:
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
    found, _ = sample(model, [query], num_samples=4000, max_new_tokens=2)
    starts = tuple(decode([first]) for first in likely)
    others = [text for text in found["b"] if text not in expected]
    assert not any(text.startswith(starts) and text in expected for text in others)
    rest = 1 - sum(expected.values())
    texts = [text if text in expected else "another first token" for text in found["b"]]
    assert chi_square(texts, expected | {"another first token": rest}) > 0.01


def test_top_k_one_is_greedy() -> None:
    model = peaked(end=2.5)
    found, counts = sample(model, top_k=1, max_new_tokens=10, num_samples=2, temperature=1.7)
    ended = 0
    for name, query in QUERIES:
        text, end = greedy(model, prompt_ids(query), 10)
        assert found[name] == [text, text]
        ended += 2 * end
    assert counts["unfinished"] == 2 * len(QUERIES) - ended


def test_the_repetition_penalty_is_on_prompt_and_response() -> None:
    model = peaked()
    plain, _ = sample(model, top_k=1, max_new_tokens=10)
    found, _ = sample(model, top_k=1, max_new_tokens=10, repetition_penalty=1.3)
    for name, query in QUERIES:
        assert found[name][0] == greedy(model, prompt_ids(query), 10, penalty=1.3)[0]
    assert found != plain


def test_top_p_keeps_the_likeliest_tokens_that_hold_it() -> None:
    model, query = peaked(), QUERIES[0]
    with torch.inference_mode():
        p, order = model(input_ids=torch.tensor([prompt_ids(query[1])])).logits[0, -1].softmax(-1).sort()
    kept = p.cumsum(-1) > 1 - 0.6  # the tail holds at most 1 - top_p
    nucleus = torch.zeros(380, dtype=p.dtype)
    nucleus[order[kept]] = p[kept] / p[kept].sum()
    assert 1 < int(kept.sum()) < 300
    found, _ = sample(model, [query], num_samples=2000, max_new_tokens=1, top_p=0.6)
    expected = {text: value for text, value in by_text(nucleus).items() if value}
    assert chi_square(found["a"], expected) > 0.01


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


def test_what_has_no_probability_is_never_drawn() -> None:
    scores = torch.tensor([-torch.inf, 1.0, -torch.inf, 0.3, -torch.inf])
    uniform = torch.tensor([0.0, 1.0 - 2**-53, *np.random.default_rng(0).random(500)], dtype=torch.float64)
    assert set(draw(scores.expand(502, -1), uniform).tolist()) == {1, 3}


# Prompts and ends


def test_a_long_prompt_is_cut_on_the_left_after_its_first_token() -> None:
    model = peaked()
    name, query = QUERIES[2]
    ids = prompt_ids(query)
    found, counts = sample(model, QUERIES, top_k=1, max_prompt_tokens=len(ids) - 4)
    assert counts["prompts_cut"] == 1
    assert found[name][0] == greedy(model, [ids[0], *ids[5:]], 8)[0]
    assert found[name][0] != greedy(model, ids, 8)[0]
    _, counts = sample(model, QUERIES, top_k=1, max_prompt_tokens=len(ids))
    assert counts["prompts_cut"] == 0


def test_a_special_token_written_in_a_query_is_text() -> None:
    model = peaked()
    query = ("x", tiny.query("Is </s> short?"))
    assert EOS not in prompt_ids(query[1])
    found, _ = sample(model, [query], top_k=1)
    assert found["x"][0] == greedy(model, prompt_ids(query[1]), 8)[0]


def test_a_prompt_goes_through_the_template_of_the_tokenizer() -> None:
    model, tokenizer = peaked(), tiny.tokenizer()
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if loop.last and m['role'] == 'assistant' %}"
        "<answer> {{ m['content'] }}{% else %}<{{ m['role'] }}> {{ m['content'] }} {% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<answer>{% endif %}"
    )
    query = ("x", tiny.query("What is 1 plus 2?") + " 3" + tiny.query("And 4?"))
    found, _ = sample(model, [query], top_k=1, tokenizer=tokenizer)
    expected = prompt_ids("<user> What is 1 plus 2? <assistant> 3 <user> And 4? <answer>")
    assert found["x"][0] == greedy(model, expected, 8)[0]
    assert found["x"][0] != greedy(model, prompt_ids(query[1]), 8)[0]


def test_the_hh_form_is_that_of_a_tokenizer_without_a_template() -> None:
    model, tokenizer = peaked(), tiny.tokenizer()
    assert tokenizer.chat_template is None
    found = sample(model, tokenizer=tokenizer)[0]
    tokenizer.chat_template = hh_template()
    assert sample(model, tokenizer=tokenizer)[0] == found


def test_every_end_token_ends_a_response_and_stands_at_its_end() -> None:
    """The rows go on a few steps behind an end before they leave the batch; nothing of that is left."""
    other, model = 306, peaked(end=1.5)
    plain, _ = drawn(model, num_samples=8, max_new_tokens=30)
    found, _ = drawn(model, ends=(EOS, other), num_samples=8, max_new_tokens=30)
    seen = Counter[int]()
    for row, cut in zip(chain(*plain), chain(*found), strict=True):
        place = next((place for place, token in enumerate(row) if token in (EOS, other)), len(row))
        assert cut == row[: place + 1] and EOS not in row[:-1]
        seen[cut[-1] if cut[-1] in (EOS, other) else 0] += 1
    assert min(seen[EOS], seen[other], seen[0]) > 0


@pytest.mark.parametrize(("end", "unfinished"), [(True, 0), (False, 10)])
def test_ends_are_counted(end: bool, unfinished: int) -> None:
    """A head that always or never says the end token."""
    model = peaked(end=0.0)
    model.lm_head.bias.data[EOS] = 1000.0 if end else -1000.0
    found, counts = sample(model, num_samples=2, max_new_tokens=3)
    assert counts["unfinished"] == unfinished
    assert ({text for texts in found.values() for text in texts} == {""}) is end


def test_no_queries_give_no_responses() -> None:
    assert sample(peaked(), []) == ({}, Counter())


@pytest.mark.parametrize("count", [1, 3])
def test_bf16_samples_are_those_of_rounded_logits(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU computes in; most draws are those of float32."""
    model = peaked().float()
    exact, _ = sample(model, num_samples=count, max_new_tokens=2)
    monkeypatch.setenv("APO_PRECISION", "bf16")
    rounded, _ = sample(model, num_samples=count, max_new_tokens=2)
    same = [a == b for name in exact for a, b in zip(exact[name], rounded[name], strict=True)]
    assert sum(same) > 0.6 * len(same)  # of draws that depend on each other
