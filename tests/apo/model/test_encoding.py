"""apo/model/encoding.py: what the ids of a response set are, and what is counted."""

from collections import Counter
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.model.encoding import CHUNK, Encoder
from apo.model.hh_template import hh_template
from tests.helpers import tiny_models as tiny
from tests.helpers.encoded import BOS, EOS, QUERY, encode, fit, ids_of, learner

# What the ids are


def test_encoder_gives_the_ids_of_the_whole_text() -> None:
    item = encode(tiny.encoder(), QUERY, "3, my friend.", "4")
    assert item.prefix + item.responses[0] == [BOS, *ids_of(QUERY + " 3, my friend.")]
    assert item.prefix + item.responses[1] == [BOS, *ids_of(QUERY + " 4")]
    assert item.unpacked_tokens == 2 * len(item.prefix) + len(item.responses[0]) + len(item.responses[1])
    assert item.longest == len(item.prefix) + len(item.responses[0])


@pytest.mark.parametrize("pooling", ["eos", "average", "max"])
def test_encoder_ends_with_one_eos_for_every_pooling_but_last(pooling: str) -> None:
    plain = encode(tiny.encoder(), QUERY, "3", "no")
    ended = encode(tiny.encoder(pooling=pooling), QUERY, "3", "no")
    assert ended.prefix == plain.prefix
    assert ended.responses == [[*response, EOS] for response in plain.responses]


def test_encoder_puts_the_separator_between_query_and_response() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<sep>"]})
    number = tokenizer.convert_tokens_to_ids("<sep>")
    assert number == 380  # a new one
    encoder = Encoder(tokenizer, 64, "eos", "<sep>", "left")
    item = encode(encoder, QUERY, "3 <sep> 4")
    assert item.prefix == [BOS, *ids_of(QUERY), number]
    assert item.responses == [[*ids_of(QUERY + " 3 <sep> 4")[len(ids_of(QUERY)) :], EOS]]
    assert number not in item.responses[0]  # in a text it is text


def test_encoder_adds_no_bos_where_the_tokenizer_has_none() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.bos_token = None
    item = encode(Encoder(tokenizer, 64, "last", "", "left"), QUERY, "3")
    assert item.prefix == ids_of(QUERY)


def test_encoder_takes_written_special_tokens_for_text() -> None:
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
def test_encoder_ignores_white_space_around_a_response(written: str) -> None:
    assert encode(tiny.encoder(), QUERY, written) == encode(tiny.encoder(), QUERY, "3, my friend.")


def test_encoder_keeps_the_order_over_chunks() -> None:
    texts = [(tiny.query(f"What is {i} plus 1?"), [str(i + 1), "no"]) for i in range(CHUNK + 3)]
    counts: Counter[str] = Counter()
    items = list(tiny.encoder().items(iter(texts), counts, where="a.jsonl"))
    assert counts["items"] == len(items) == CHUNK + 3
    for index in (0, CHUNK - 1, CHUNK, CHUNK + 2):
        assert items[index] == encode(tiny.encoder(), texts[index][0], *texts[index][1])


def test_encoder_reads_one_chunk_ahead() -> None:
    """A million rows fit in memory: no more than one chunk is drawn ahead."""
    drawn = 0

    def texts() -> Any:
        nonlocal drawn
        while True:
            drawn += 1
            yield QUERY, ["3"]

    next(tiny.encoder().items(texts(), Counter(), where="a.jsonl"))
    assert drawn == CHUNK


# Trainings of language models and prompts: what stays whole


def test_encoder_of_a_language_model_ends_the_response() -> None:
    item, counts = fit(64, "3, my friend.", "4")
    assert item == encode(tiny.encoder(pooling="eos"), QUERY, "3, my friend.", "4")
    assert counts == Counter(items=1, queries_cut=0, tokens=item.unpacked_tokens)


def test_fit_takes_other_ids_in_the_place_of_the_rendered_ones() -> None:
    counts: Counter[str] = Counter()
    encoder = learner(12)
    [rendered] = encoder.tokenize([(QUERY, ["3", "no"])], counts, where="a.jsonl")
    assert rendered
    item = encoder.truncate_query(rendered, counts, [[100, 101, EOS], [102, 103, 104]])
    assert item and item.responses == [[100, 101, EOS], [102, 103, 104]] and item.longest == 12
    # BOS, a token of the query and the turn mark
    assert encoder.truncate_query(rendered, counts, [[100] * 9, [102]])
    assert encoder.truncate_query(rendered, counts, [[100] * 10, [102]]) is None
    assert counts["queries_dropped_cut_away"] == 1


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


def test_encoder_reads_the_own_template_of_a_tokenizer() -> None:
    item = encode(with_template(TURNS), QUERY, "3")
    [line] = ids_of("\n")[-1:]
    assert item.prefix[0] == BOS and item.prefix.count(EOS) == 1 and item.prefix.count(BOS) == 2
    assert item.responses[0][-2:] == [EOS, line]
    assert tiny.shared_tokenizer().decode(item.sequence(0)) == (
        "<s>user\nWhat is 1 plus 2?</s>\n<s>assistant\n3</s>\n"
    )


def test_encoder_reads_an_edited_hh_form_as_it_stands() -> None:
    item = encode(with_template(hh_template(separator=" Sure.", end="<s>")), QUERY, "3")
    assert tiny.shared_tokenizer().decode(item.sequence(0)) == f"<s>{QUERY} Sure. 3<s>"


def test_encoder_refuses_a_separator_with_an_own_template() -> None:
    with pytest.raises(UserError, match=r"model\.separator: found '<sep>' with the chat template of"):
        encode(with_template(TURNS, separator="<sep>"), QUERY, "3")


def test_encoder_refuses_pooling_at_an_end_that_the_template_lacks() -> None:
    with pytest.raises(UserError, match=r"model\.pooling: found eos with the chat template"):
        encode(with_template(TURNS, pooling="eos"), QUERY, "3")
    without_line = TURNS.replace("eos_token + '\n'", "eos_token")
    item = encode(with_template(without_line, pooling="eos"), QUERY, "3")
    assert item.responses[0][-1] == EOS


def test_encoder_leaves_a_gap_for_a_dropped_dialogue_or_refuses_it() -> None:
    no_system = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + TURNS
    texts = [(QUERY, ["3"]), ("Be brief." + QUERY, ["3"]), (QUERY, ["4"])]
    encoder, counts = with_template(no_system, refused="drop"), Counter[str]()
    rendered = list(encoder.tokenize(texts, counts, where="a.jsonl"))
    assert [one is None for one in rendered] == [False, True, False] and counts["dialogues_dropped"] == 1
    refusal = r"a\.jsonl: found a dialogue that the chat template refuses.* tokenizer_config\.json\) to merge"
    with pytest.raises(UserError, match=refusal):
        list(encoder.items(texts, Counter(), where="a.jsonl"))


# Blank responses


@pytest.mark.parametrize("blank", ["", "  ", "\n\n"])
def test_encoder_refuses_an_unexpected_blank_response(blank: str) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl: found a response without tokens.*What is 1 plus 2"):
        encode(tiny.encoder(), QUERY, "3", blank)


def test_encoder_gives_a_blank_response_no_tokens() -> None:
    item = encode(tiny.encoder(), QUERY, "3", " ", allow_blank=True)
    assert item.prefix == [BOS, *ids_of(QUERY)]
    assert item.responses[1] == [] and item.responses[0] != []
    ended = encode(tiny.encoder(pooling="eos"), QUERY, "3", " ", allow_blank=True)
    assert ended.responses[1] == [EOS]


def test_encoder_refuses_a_tokenizer_that_joins_query_and_response() -> None:
    """Without the turn marks as pieces, ': 3' may become one; then no query has ids of its own."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    characters = {c: i for i, c in enumerate(sorted(set(QUERY + " Hi Yes. 3")))}
    pieces = characters | {": ": len(characters), "</s>": len(characters) + 1}
    joined = Tokenizer(models.BPE(vocab=pieces, merges=[(":", " ")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=joined, eos_token="</s>", pad_token="</s>")
    with pytest.raises(UserError, match="joins the end of a query with its response"):
        encode(Encoder(tokenizer, 64, "last", "", "left"), QUERY, "3")
