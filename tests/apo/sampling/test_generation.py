"""sampling/generation.py: samples are draws from the model, each a function of seed, query and index alone.

The models are in float64 here. In float32 the last bits of a logit depend on the rows beside it, so that a
draw that falls within about 1e-7 of the border between two tokens can come out as the other one: about one
text in 100,000 of a hundred tokens may differ from batch to batch.
"""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch

from apo.model.hh_template import hh_template
from apo.sampling.generation import _generator
from tests.helpers import tiny_models as tiny
from tests.helpers.sampled import EOS, QUERIES, drawn, greedy, peaked, prompt_ids, sample

# What a text depends on


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_sample_responses_ignores_neighbors_order_and_budget(
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
        sampled, _ = sample(model, [QUERIES[i] for i in order], **settings)
        assert sampled == {QUERIES[i][0]: expected[QUERIES[i][0]] for i in order}
    for budget in ("1", "300"):
        monkeypatch.setenv("APO_SAMPLE_BUDGET", budget)
        sampled, again = sample(model, **settings)
        assert (sampled, again) == (expected, counts)


def test_sample_responses_with_more_samples_keeps_the_first_ones() -> None:
    few, _ = sample(peaked(), num_samples=2)
    more, _ = sample(peaked(), num_samples=5)
    assert {name: texts[:2] for name, texts in more.items()} == few


def test_sample_responses_with_a_shorter_limit_gives_the_beginning() -> None:
    long, _ = sample(peaked(), max_new_tokens=12)
    short, _ = sample(peaked(), max_new_tokens=5)
    for name, texts in long.items():
        for whole, part in zip(texts, short[name], strict=True):
            assert whole.startswith(part)


def test_sample_responses_depends_on_seed_query_id_and_index() -> None:
    base, _ = sample(peaked(), num_samples=4)
    again, _ = sample(peaked(), num_samples=4)
    assert again == base
    assert all(len(set(texts)) == 4 for texts in base.values())
    other, _ = sample(peaked(), num_samples=4, seed=2)
    renamed, _ = sample(peaked(), [("other", QUERIES[0][1])], num_samples=4)
    assert not set(base["a"]) & set(other["a"])
    assert not set(base["a"]) & set(renamed["other"])


def test_sample_responses_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    base, _ = sample(peaked())
    torch.manual_seed(2)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert sample(peaked())[0] == base
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before


def test_sample_responses_ignores_the_generation_config() -> None:
    model = peaked()
    base, _ = sample(model)
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.top_k = 1
    model.generation_config.no_repeat_ngram_size = 1
    assert sample(model)[0] == base


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_sample_responses_equals_reading_the_text_anew_for_each_token(
    sharing: bool, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the prompts shared by their samples, and with a copy for each."""
    if not sharing:
        monkeypatch.setattr("apo.sampling.kv_cache.SHARING", ())
    model = peaked(end=2.5, pad=3.0)
    texts, _ = sample(model, num_samples=3, max_new_tokens=12, temperature=1.3, repetition_penalty=penalty)
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
            assert texts[name][index] == text


# Prompts and ends


def test_sample_responses_cuts_a_long_prompt_after_its_first_token() -> None:
    model = peaked()
    name, query = QUERIES[2]
    ids = prompt_ids(query)
    texts, counts = sample(model, QUERIES, top_k=1, max_prompt_tokens=len(ids) - 4)
    assert counts["prompts_cut"] == 1
    assert texts[name][0] == greedy(model, [ids[0], *ids[5:]], 8)[0]
    assert texts[name][0] != greedy(model, ids, 8)[0]
    _, counts = sample(model, QUERIES, top_k=1, max_prompt_tokens=len(ids))
    assert counts["prompts_cut"] == 0


def test_sample_responses_takes_a_written_special_token_for_text() -> None:
    model = peaked()
    query = ("x", tiny.query("Is </s> short?"))
    assert EOS not in prompt_ids(query[1])
    texts, _ = sample(model, [query], top_k=1)
    assert texts["x"][0] == greedy(model, prompt_ids(query[1]), 8)[0]


def test_sample_responses_renders_the_template_of_the_tokenizer() -> None:
    model, tokenizer = peaked(), tiny.tokenizer()
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if loop.last and m['role'] == 'assistant' %}"
        "<answer> {{ m['content'] }}{% else %}<{{ m['role'] }}> {{ m['content'] }} {% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<answer>{% endif %}"
    )
    query = ("x", tiny.query("What is 1 plus 2?") + " 3" + tiny.query("And 4?"))
    texts, _ = sample(model, [query], top_k=1, tokenizer=tokenizer)
    expected = prompt_ids("<user> What is 1 plus 2? <assistant> 3 <user> And 4? <answer>")
    assert texts["x"][0] == greedy(model, expected, 8)[0]
    assert texts["x"][0] != greedy(model, prompt_ids(query[1]), 8)[0]


def test_sample_responses_renders_the_hh_form_without_a_template() -> None:
    model, tokenizer = peaked(), tiny.tokenizer()
    assert tokenizer.chat_template is None
    texts = sample(model, tokenizer=tokenizer)[0]
    tokenizer.chat_template = hh_template()
    assert sample(model, tokenizer=tokenizer)[0] == texts


def test_sample_responses_ends_at_every_end_token() -> None:
    """The rows go on a few steps behind an end before they leave the batch; nothing of that is left."""
    other, model = 306, peaked(end=1.5)
    plain, _ = drawn(model, num_samples=8, max_new_tokens=30)
    ids, _ = drawn(model, ends=(EOS, other), num_samples=8, max_new_tokens=30)
    seen = Counter[int]()
    for row, cut in zip(chain(*plain), chain(*ids), strict=True):
        place = next((place for place, token in enumerate(row) if token in (EOS, other)), len(row))
        assert cut == row[: place + 1] and EOS not in row[:-1]
        seen[cut[-1] if cut[-1] in (EOS, other) else 0] += 1
    assert min(seen[EOS], seen[other], seen[0]) > 0


@pytest.mark.parametrize(("end", "unfinished"), [(True, 0), (False, 10)])
def test_sample_responses_counts_unfinished_responses(end: bool, unfinished: int) -> None:
    """A head that always or never says the end token."""
    model = peaked(end=0.0)
    model.lm_head.bias.data[EOS] = 1000.0 if end else -1000.0
    sampled, counts = sample(model, num_samples=2, max_new_tokens=3)
    assert counts["unfinished"] == unfinished
    assert ({text for texts in sampled.values() for text in texts} == {""}) is end


def test_sample_responses_of_no_queries_is_empty() -> None:
    assert sample(peaked(), []) == ({}, Counter())


@pytest.mark.parametrize("count", [1, 3])
def test_sample_responses_in_bf16_draws_from_rounded_logits(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU computes in; most draws are those of float32."""
    model = peaked().float()
    exact, _ = sample(model, num_samples=count, max_new_tokens=2)
    monkeypatch.setenv("APO_PRECISION", "bf16")
    rounded, _ = sample(model, num_samples=count, max_new_tokens=2)
    same = [a == b for name in exact for a, b in zip(exact[name], rounded[name], strict=True)]
    assert sum(same) > 0.6 * len(same)  # of draws that depend on each other
