"""apo/model/encoding.py: what is cut of a query, and that no response is cut before it."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.core.errors import UserError
from apo.model.encoding import Encoder, ResponseSet
from tests.helpers import tiny_models as tiny
from tests.helpers.chat_models import FAMILIES, tokenizer
from tests.helpers.encoded import ASSISTANT, BOS, EOS, QUERY, encode, fit, ids_of, learner


def test_encoder_cuts_the_query_once_for_all_responses() -> None:
    counts: Counter[str] = Counter()
    long, short = "1 2 3 4 5", "no"
    whole = encode(tiny.encoder(), QUERY, long, short)
    max_content_tokens = whole.longest - 3  # three tokens too few for the longest response
    item = encode(tiny.encoder(max_length=max_content_tokens), QUERY, short, long, counts=counts)
    assert item.prefix == [BOS, *whole.prefix[4:]]  # BOS kept, three tokens of the query gone
    assert item.prefix[-1] == ASSISTANT
    assert item.responses == whole.responses[::-1]
    assert item.longest == max_content_tokens
    assert counts == Counter(items=1, queries_cut=1, responses_cut=0, tokens=item.unpacked_tokens)


def test_encoder_cutting_on_the_right_keeps_the_generation_prompt() -> None:
    whole = encode(tiny.encoder(), QUERY, "1 2 3 4 5")
    item = encode(tiny.encoder(max_length=whole.longest - 3, truncation_side="right"), QUERY, "1 2 3 4 5")
    assert whole.prefix[-1] == ASSISTANT
    assert item.prefix == [*whole.prefix[:-4], ASSISTANT]
    assert item.responses == whole.responses


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_encoder_cuts_the_text_of_a_query_alone(name: str, side: str) -> None:
    """Not the end of the user's turn, nor the header of the assistant's."""
    counts: Counter[str] = Counter()
    ends, query = [], "What is the capital of France? "
    for times in (1, 20):
        encoder = Encoder(tokenizer(name), 192, "last", "", side)
        [item] = encoder.items([(tiny.query(query * times), ["Paris."])], counts, where="")
        ends.append(item.prefix[len(item.prefix) - len(encoder.template.generation_prompt) :])
    assert counts["queries_cut"] == 1 and ends[0] == ends[1]
    written = encoder.tokenizer.decode(ends[0])
    between = {"mistral": "[/INST]", "chatml": "<|im_end|>\n<|im_start|>assistant\n", "phi3": "<|assistant|>"}
    assert between.get(name, "") in written and "France" not in written and ends[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_encoder_never_cuts_the_separator(side: str) -> None:
    """Behind the generation prompt, in front of a response that fills everything too."""
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<sep>"]})
    encoder = Encoder(tokenizer, 10, "eos", "<sep>", side)
    item = encode(encoder, QUERY, "1 2 3")
    assert (item.prefix[0], item.prefix[-2:]) == (BOS, [ASSISTANT, 380]) and item.longest == 10
    full = encode(encoder, QUERY, " ".join("123456789"))
    assert full.prefix == [BOS, ASSISTANT, 380] and full.responses[0][-1] == EOS and full.longest == 10


def test_encoder_does_not_cut_what_just_fits() -> None:
    counts: Counter[str] = Counter()
    whole = encode(tiny.encoder(pooling="eos"), QUERY, "1 2 3 4 5", "no")
    again = encode(
        tiny.encoder(pooling="eos", max_length=whole.longest), QUERY, "1 2 3 4 5", "no", counts=counts
    )
    assert again == whole
    assert counts["queries_cut"] == counts["responses_cut"] == 0
    counts.clear()
    shorter = encode(
        tiny.encoder(pooling="eos", max_length=whole.longest - 1),
        QUERY,
        "1 2 3 4 5",
        "no",
        counts=counts,
    )
    assert shorter.responses == whole.responses
    assert shorter.prefix == [BOS, *whole.prefix[2:]]
    assert counts["queries_cut"] == 1 and counts["responses_cut"] == 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_encoder_cuts_counts_and_logs_a_response_longer_than_max_length(
    side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: Counter[str] = Counter()
    long = " ".join("123456789")
    alone = encode(tiny.encoder(), QUERY, long).responses[0]
    encoder = tiny.encoder(max_length=10, pooling="eos", truncation_side=side)
    item = encode(encoder, QUERY, long, "no", long, counts=counts)
    kept = alone[-7:] if side == "left" else alone[:7]  # 10 = BOS + turn mark + 7 + EOS
    assert item.prefix == [BOS, ASSISTANT]  # no token of the query remains
    assert item.responses[0] == item.responses[2] == [*kept, EOS]
    assert item.longest == 10
    assert counts["responses_cut"] == 2 and counts["queries_cut"] == 1 and counts["items"] == 1
    assert "2 responses are longer than 10 tokens alone and were cut" in capsys.readouterr().err


@settings(max_examples=60, deadline=None)
@given(
    words=st.integers(0, 30),
    answers=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    max_length=st.integers(8, 40),
    pooling=st.sampled_from(["last", "eos"]),
    side=st.sampled_from(["left", "right"]),
)
def test_encoder_cuts_no_response_while_query_tokens_remain(
    words: int, answers: list[int], max_length: int, pooling: str, side: str
) -> None:
    counts: Counter[str] = Counter()
    text, responses = tiny.query(" ".join(["dog"] * words)), [" ".join(["fox"] * n) for n in answers]
    item = encode(
        tiny.encoder(max_length=max_length, pooling=pooling, truncation_side=side),
        text,
        *responses,
        counts=counts,
    )
    whole = encode(tiny.encoder(max_length=1000, pooling=pooling), text, *responses)
    assert item.longest <= max_length
    assert (item.prefix[0], item.prefix[-1]) == (BOS, ASSISTANT)
    assert all(response[-1] == EOS for response in item.responses) or pooling == "last"
    assert (item == whole) == (whole.longest <= max_length)
    if whole.longest > max_length:
        assert item.longest == max_length  # nothing is cut that would fit
    if item.responses != whole.responses:
        assert item.prefix == [BOS, ASSISTANT]
    assert counts["responses_cut"] == sum(
        a != b for a, b in zip(item.responses, whole.responses, strict=True)
    )
    assert counts["queries_cut"] == (len(item.prefix) < len(whole.prefix))
    assert counts["tokens"] == sum(len(item.prefix) + len(response) for response in item.responses)


def test_encoder_refuses_a_max_length_that_the_template_fills() -> None:
    """BOS, turn mark and EOS are three tokens."""
    assert tiny.encoder(max_length=4, pooling="eos").max_content_tokens == 1
    with pytest.raises(UserError, match=r"model\.max_length: found 3, of which the chat template takes 3"):
        encode(tiny.encoder(max_length=3, pooling="eos"), QUERY, "3")


def test_fit_cuts_a_query_and_never_a_response() -> None:
    whole, _ = fit(64, "1 2 3", "no")
    assert whole
    query = len(whole.prefix) - 2  # beside BOS and turn mark
    for missing in range(1, query):
        item, counts = fit(whole.longest - missing, "1 2 3", "no")
        assert item == ResponseSet([BOS, *whole.prefix[1 + missing :]], whole.responses)
        assert item.prefix[-1] == ASSISTANT
        assert counts == Counter(items=1, queries_cut=1, tokens=item.unpacked_tokens)
    for missing in range(query, whole.longest):
        item, counts = fit(whole.longest - missing, "1 2 3", "no")
        assert item is None and counts == Counter(queries_dropped_cut_away=1)


def test_prompt_is_cut_between_begin_and_generation_prompt() -> None:
    counts: Counter[str] = Counter()
    nothing: list[str] = []
    ids = [BOS, *ids_of(QUERY)]
    for length in (len(ids), len(ids) - 1, 5, 3):
        encoder = learner(length)
        [rendered] = encoder.tokenize([(QUERY, nothing)], Counter(), where="a.jsonl")
        assert rendered
        assert encoder.prompt(rendered, counts) == [BOS, *ids[len(ids) - length + 1 :]]
    assert counts == Counter(prompts_cut=3)
    [rendered] = learner(2).tokenize([(QUERY, nothing)], Counter(), where="a.jsonl")
    assert rendered
    with pytest.raises(UserError, match=r"align\.max_length: found 2, of which the chat template takes 2"):
        learner(2).prompt(rendered, Counter())
