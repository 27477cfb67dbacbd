"""apo/model/encoding.py: what the ids of an item are, what is cut, and what is counted."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.core.errors import UserError
from apo.model.encoding import CHUNK, Encoder, ResponseSet
from tests.helpers import tiny_models as tiny

QUERY = tiny.query("What is 1 plus 2?")
BOS, EOS = 1, 2
[ASSISTANT] = tiny.shared_tokenizer()("\n\nAssistant:", add_special_tokens=False)["input_ids"]


def ids_of(text: str) -> list[int]:
    """The pieces of a text, nothing added."""
    found: list[int] = tiny.shared_tokenizer()(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return found


def encode(
    encoder: Encoder, query: str, *responses: str, counts: Counter[str] | None = None, **options: Any
) -> ResponseSet:
    counter: Counter[str] = Counter() if counts is None else counts
    [item] = encoder.items([(query, list(responses))], counter, where="a.jsonl", **options)
    return item


# What the ids are


def test_ids_are_those_of_the_whole_text() -> None:
    item = encode(tiny.encoder(), QUERY, "3, my friend.", "4")
    assert item.prefix + item.responses[0] == [BOS, *ids_of(QUERY + " 3, my friend.")]
    assert item.prefix + item.responses[1] == [BOS, *ids_of(QUERY + " 4")]
    assert item.unpacked_tokens == 2 * len(item.prefix) + len(item.responses[0]) + len(item.responses[1])
    assert item.longest == len(item.prefix) + len(item.responses[0])


@pytest.mark.parametrize("pooling", ["eos", "average", "max"])
def test_every_pooling_but_last_ends_with_one_eos(pooling: str) -> None:
    plain = encode(tiny.encoder(), QUERY, "3", "no")
    ended = encode(tiny.encoder(pooling=pooling), QUERY, "3", "no")
    assert ended.prefix == plain.prefix
    assert ended.responses == [[*response, EOS] for response in plain.responses]


def test_the_separator_stands_between_query_and_response() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<sep>"]})
    number = tokenizer.convert_tokens_to_ids("<sep>")
    assert number == 380  # a new one
    encoder = Encoder(tokenizer, 64, "eos", "<sep>", "left")
    item = encode(encoder, QUERY, "3 <sep> 4")
    assert item.prefix == [BOS, *ids_of(QUERY), number]
    assert item.responses == [[*ids_of(QUERY + " 3 <sep> 4")[len(ids_of(QUERY)) :], EOS]]
    assert number not in item.responses[0]  # in a text it is text


def test_a_tokenizer_without_bos_has_none() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.bos_token = None
    item = encode(Encoder(tokenizer, 64, "last", "", "left"), QUERY, "3")
    assert item.prefix == ids_of(QUERY)


def test_special_tokens_written_in_a_text_are_text() -> None:
    item = encode(
        tiny.encoder(pooling="eos"),
        tiny.query("Is </s> or <s> or <pad> or <unk> short?"),
        "</s><s>",
    )
    assert item.prefix.count(BOS) == 1 and item.prefix[0] == BOS
    assert item.responses[0].count(EOS) == 1 and item.responses[0][-1] == EOS
    rest = [*item.prefix[1:], *item.responses[0][:-1]]
    assert not {0, 1, 2, 3} & set(rest)
    assert tiny.shared_tokenizer().decode(rest).endswith("</s><s>")


@pytest.mark.parametrize(
    "written", [" 3, my friend.", "3, my friend.  ", "\n3, my friend.\n\n", "\t3, my friend."]
)
def test_white_space_around_a_response_does_not_count(written: str) -> None:
    assert encode(tiny.encoder(), QUERY, written) == encode(tiny.encoder(), QUERY, "3, my friend.")


def test_order_is_kept_over_chunks() -> None:
    texts = [(tiny.query(f"What is {i} plus 1?"), [str(i + 1), "no"]) for i in range(CHUNK + 3)]
    counts: Counter[str] = Counter()
    found = list(tiny.encoder().items(iter(texts), counts, where="a.jsonl"))
    assert counts["items"] == len(found) == CHUNK + 3
    for index in (0, CHUNK - 1, CHUNK, CHUNK + 2):
        assert found[index] == encode(tiny.encoder(), texts[index][0], *texts[index][1])


def test_reading_is_lazy() -> None:
    """A million rows fit in memory: no more than one chunk is drawn ahead."""
    drawn = 0

    def texts() -> Any:
        nonlocal drawn
        while True:
            drawn += 1
            yield QUERY, ["3"]

    next(tiny.encoder().items(texts(), Counter(), where="a.jsonl"))
    assert drawn == CHUNK


# What is cut


def test_the_query_is_cut_once_on_the_left_for_all_responses() -> None:
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


def test_cut_on_the_right_loses_the_end_of_the_query_before_the_generation_prompt() -> None:
    whole = encode(tiny.encoder(), QUERY, "1 2 3 4 5")
    item = encode(tiny.encoder(max_length=whole.longest - 3, truncation_side="right"), QUERY, "1 2 3 4 5")
    assert whole.prefix[-1] == ASSISTANT
    assert item.prefix == [*whole.prefix[:-4], ASSISTANT]
    assert item.responses == whole.responses


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_separator_stays_whatever_is_cut(side: str) -> None:
    """Behind the generation prompt, in front of a response that fills everything too."""
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<sep>"]})
    encoder = Encoder(tokenizer, 10, "eos", "<sep>", side)
    item = encode(encoder, QUERY, "1 2 3")
    assert (item.prefix[0], item.prefix[-2:]) == (BOS, [ASSISTANT, 380]) and item.longest == 10
    full = encode(encoder, QUERY, " ".join("123456789"))
    assert full.prefix == [BOS, ASSISTANT, 380] and full.responses[0][-1] == EOS and full.longest == 10


def test_an_item_that_just_fits_is_not_cut() -> None:
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
def test_a_response_longer_than_max_length_alone_is_cut_counted_and_told(
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
def test_no_response_is_cut_while_query_tokens_remain(
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


def test_a_length_that_the_template_fills_alone_is_told() -> None:
    """BOS, turn mark and EOS are three tokens."""
    assert tiny.encoder(max_length=4, pooling="eos").max_content_tokens == 1
    with pytest.raises(UserError, match=r"model\.max_length: found 3, of which the chat template takes 3"):
        encode(tiny.encoder(max_length=3, pooling="eos"), QUERY, "3")


# Trainings of language models and prompts: what stays whole


def learner(max_length: int, **changes: Any) -> Encoder:
    """How a language model reads."""
    return Encoder(
        tiny.shared_tokenizer(), max_length, "last", "", "left", ends=(EOS,), parameter="align.max_length"
    )


def fit(max_length: int, *responses: str) -> tuple[ResponseSet | None, Counter[str]]:
    counts: Counter[str] = Counter()
    encoder = learner(max_length)
    [rendered] = encoder.tokenize([(QUERY, list(responses))], counts, where="a.jsonl")
    assert rendered
    return encoder.fit(rendered, counts), counts


def test_a_language_model_learns_the_response_with_its_end() -> None:
    item, counts = fit(64, "3, my friend.", "4")
    assert item == encode(tiny.encoder(pooling="eos"), QUERY, "3, my friend.", "4")
    assert counts == Counter(items=1, queries_cut=0, tokens=item.unpacked_tokens)


def test_a_query_is_cut_for_a_training_and_a_response_never() -> None:
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


def test_other_ids_may_stand_in_the_place_of_the_rendered_ones() -> None:
    counts: Counter[str] = Counter()
    encoder = learner(12)
    [rendered] = encoder.tokenize([(QUERY, ["3", "no"])], counts, where="a.jsonl")
    assert rendered
    item = encoder.fit(rendered, counts, [[100, 101, EOS], [102, 103, 104]])
    assert item and item.responses == [[100, 101, EOS], [102, 103, 104]] and item.longest == 12
    assert encoder.fit(rendered, counts, [[100] * 9, [102]])  # BOS, a token of the query and the turn mark
    assert encoder.fit(rendered, counts, [[100] * 10, [102]]) is None
    assert counts["queries_dropped_cut_away"] == 1


def test_a_prompt_is_cut_between_its_begin_and_its_generation_prompt() -> None:
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


# Chat templates of others


TURNS = (
    "{% for m in messages %}{{ bos_token + m['role'] + '\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}"
)


def with_template(
    text: str, *, pooling: str = "last", separator: str = "", refused: str = "error"
) -> Encoder:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = text
    tokenizer.init_kwargs["refused_dialogues"] = refused
    return Encoder(tokenizer, 64, pooling, separator, "left")


def test_a_template_of_its_own_is_read_in_the_place_of_the_hh_form() -> None:
    item = encode(with_template(TURNS), QUERY, "3")
    [line] = ids_of("\n")[-1:]
    assert item.prefix[0] == BOS and item.prefix.count(EOS) == 1 and item.prefix.count(BOS) == 2
    assert item.responses[0][-2:] == [EOS, line]
    assert tiny.shared_tokenizer().decode(item.sequence(0)) == (
        "<s>user\nWhat is 1 plus 2?</s>\n<s>assistant\n3</s>\n"
    )


def test_a_separator_and_a_template_of_its_own_contradict_each_other() -> None:
    with pytest.raises(UserError, match=r"model\.separator: found '<sep>' with the chat template of"):
        encode(with_template(TURNS, separator="<sep>"), QUERY, "3")


def test_pooling_at_an_end_token_that_the_template_does_not_write_last_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.pooling: found eos with the chat template"):
        encode(with_template(TURNS, pooling="eos"), QUERY, "3")
    without_line = TURNS.replace("eos_token + '\n'", "eos_token")
    item = encode(with_template(without_line, pooling="eos"), QUERY, "3")
    assert item.responses[0][-1] == EOS


def test_a_dialogue_that_is_dropped_leaves_a_gap_or_is_told_where_there_may_be_none() -> None:
    no_system = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + TURNS
    texts = [(QUERY, ["3"]), ("Be brief." + QUERY, ["3"]), (QUERY, ["4"])]
    encoder, counts = with_template(no_system, refused="drop"), Counter[str]()
    found = list(encoder.tokenize(texts, counts, where="a.jsonl"))
    assert [one is None for one in found] == [False, True, False] and counts["dialogues_dropped"] == 1
    with pytest.raises(UserError, match=r"a\.jsonl: found a dialogue that the chat template refuses"):
        list(encoder.items(texts, Counter(), where="a.jsonl"))


# Blank responses


@pytest.mark.parametrize("blank", ["", "  ", "\n\n"])
def test_a_blank_response_is_an_error_where_none_is_expected(blank: str) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl: found a response without tokens.*What is 1 plus 2"):
        encode(tiny.encoder(), QUERY, "3", blank)


def test_a_blank_response_has_no_tokens_of_its_own_where_it_may_be() -> None:
    item = encode(tiny.encoder(), QUERY, "3", " ", allow_blank=True)
    assert item.prefix == [BOS, *ids_of(QUERY)]
    assert item.responses[1] == [] and item.responses[0] != []
    ended = encode(tiny.encoder(pooling="eos"), QUERY, "3", " ", allow_blank=True)
    assert ended.responses[1] == [EOS]


def test_a_tokenizer_that_joins_query_and_response_is_refused() -> None:
    """Without the turn marks as pieces, ': 3' may become one; then no query has ids of its own."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    characters = {c: i for i, c in enumerate(sorted(set(QUERY + " Hi Yes. 3")))}
    pieces = characters | {": ": len(characters), "</s>": len(characters) + 1}
    joined = Tokenizer(models.BPE(vocab=pieces, merges=[(":", " ")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=joined, eos_token="</s>", pad_token="</s>")
    with pytest.raises(UserError, match="joins the end of a query with its response"):
        encode(Encoder(tokenizer, 64, "last", "", "left"), QUERY, "3")
