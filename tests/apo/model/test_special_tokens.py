"""apo/model/special_tokens.py: the text of a special token is text, whatever the tokenizer."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.core.dialogue import ASSISTANT, dialogue_to_messages
from apo.model.chat_template import ChatTemplate, Rendered
from apo.model.encoding import Encoder
from apo.model.special_tokens import special_token_pattern, special_tokens, text_ids
from tests.helpers import odd_tokenizers as odd
from tests.helpers import tiny_models as tiny
from tests.helpers.chat_models import CHATML, PHI3, ZEPHYR

TOKENIZERS = {
    "sentencepiece": tiny.tokenizer(),
    "unigram": odd.unigram(),
    "unigram after NFKC": odd.unigram(nfkc=True),
    "word level": odd.word_level(),
    "slow": odd.slow_words(),
}
each = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
# What a text is made of: special tokens, halves of them, the same in full width, letters, gaps.
PARTS = ["</s>", "<s>", "<pad>", "<unk>", "<", "s>", "/s>", "pad>", "\uff1c/s\uff1e", "a", "b", " ", "\n"]


def plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer([text], add_special_tokens=False, split_special_tokens=True)["input_ids"][0]
    return ids


@pytest.mark.parametrize("name", ["unigram", "word level", "slow"])
def test_plain_tokenizers_turn_text_into_special_tokens(name: str) -> None:
    """Without this, the tests below would prove nothing."""
    assert 2 in plain(TOKENIZERS[name], "a </s> b")


def test_text_ids_by_hand() -> None:
    unigram = odd.unigram()
    ids = text_ids(unigram, ["a</s>b", "ab"], special_tokens(unigram))
    assert unigram.convert_ids_to_tokens(ids[0]) == ["a", "<", "/", "s", ">", "b"]
    assert unigram.convert_ids_to_tokens(ids[1]) == ["a", "b"]
    words = odd.word_level()
    assert text_ids(words, ["a </s> b"], special_tokens(words)) == [
        [odd.WORDS.index(word) for word in ("a", "<", "/s>", "b")]
    ]


def test_text_ids_keep_normalized_special_tokens_text() -> None:
    tokenizer = odd.unigram(nfkc=True)
    text = "a\uff1c/s\uff1e"
    assert 2 in plain(tokenizer, text)
    [ids] = text_ids(tokenizer, [text], special_tokens(tokenizer))
    assert tokenizer.convert_ids_to_tokens(ids) == ["a", "<", "/", "s", ">"]


@each
@settings(max_examples=150, deadline=None)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=12))
def test_text_ids_never_hold_a_special_token(tokenizer: Any, parts: list[str]) -> None:
    text, special = "".join(parts), special_tokens(tokenizer)
    assert set(special.values()) == {1, 2, 3}
    [ids] = text_ids(tokenizer, [text], special)
    assert not {1, 2, 3} & set(ids)
    if not {1, 2, 3} & set(plain(tokenizer, text)):
        assert ids == plain(tokenizer, text)  # nothing else is changed


@each
def test_special_tokens_of_an_item_are_set_by_the_encoder(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, 200, "eos", "", "left")
    texts = [(f"\n\nHuman: a </s> <pad>{ASSISTANT}", ["</s>", "<s> b", "b \uff1c/s\uff1e"])]
    [item] = encoder.items(texts, Counter(), where="a.jsonl")
    assert item.prefix[0] == 1 and not {1, 2, 3} & set(item.prefix[1:])
    for response in item.responses:
        assert response[-1] == 2 and not {1, 2, 3} & set(response[:-1]) and len(response) > 1


def test_special_tokens_include_the_separator() -> None:
    tokenizer = odd.word_level()
    assert special_tokens(tokenizer, "pad>") == {"<s>": 1, "</s>": 2, "<pad>": 3, "pad>": 13}


def test_special_tokens_include_reserved_tokens_without_a_role() -> None:
    tokenizer = odd.unigram()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|reserved|>"]})
    number = tokenizer.convert_tokens_to_ids("<|reserved|>")
    assert special_tokens(tokenizer)["<|reserved|>"] == number
    [ids] = text_ids(tokenizer, ["a<|reserved|>"], special_tokens(tokenizer))
    assert number not in ids


def test_special_token_pattern_finds_the_longest() -> None:
    assert special_token_pattern(["<s", "<s>"]).findall("<s> <s") == ["<s>", "<s"]
    assert not special_token_pattern([]).search("anything")


# A template as many have it: special tokens of its own, contents trimmed, the first one repeated.
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}{{ messages[0]['content'] }}{% endif %}"
    "[{{ m['role'] }}] {{ m['content'] | trim }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ messages[0]['content'] }}[assistant]{% endif %}"
)


def rendered(tokenizer: Any, template: str, asked: str, *responses: str) -> tuple[ChatTemplate, Rendered]:
    chat = ChatTemplate(tokenizer, template, where="a")
    [encoded] = chat.encode([(tiny.query(asked), list(responses))], Counter(), where="a.jsonl")
    assert encoded
    return chat, encoded


@pytest.mark.parametrize("name", ["sentencepiece", "unigram", "unigram after NFKC"])
@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.sampled_from([*PARTS[:4], "a", "b", " "]), max_size=8))
def test_special_tokens_of_a_dialogue_are_set_by_the_template(name: str, parts: list[str]) -> None:
    tokenizer, text = TOKENIZERS[name], "".join(parts)
    chat, encoded = rendered(tokenizer, TEMPLATE, text, text)
    ids = [*chat.head, *encoded.query, *encoded.generation_prompt, *encoded.responses[0], *chat.turn_end]
    assert [number for number in ids if number in (1, 2, 3)] == [1, 2, 2]
    assert not {1, 2, 3} & set(encoded.responses[0])
    if not set(PARTS[:4]) & set(parts):
        messages = [*dialogue_to_messages(tiny.query(text)), {"role": "assistant", "content": text.strip()}]
        assert ids == tokenizer.apply_chat_template(messages, chat_template=TEMPLATE, return_dict=False)


def test_text_ids_of_a_message_by_hand() -> None:
    tokenizer = odd.unigram()
    template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    chat, encoded = rendered(tokenizer, template, "a</s>b", "<s>b")
    assert tokenizer.convert_ids_to_tokens(chat.head) == ["<s>"]
    assert tokenizer.convert_ids_to_tokens(encoded.query) == ["a", "<", "/", "s", ">", "b"]
    assert tokenizer.convert_ids_to_tokens(encoded.generation_prompt) == ["</s>"]
    assert tokenizer.convert_ids_to_tokens(encoded.responses[0]) == ["<", "s", ">", "b"]
    assert tokenizer.convert_ids_to_tokens(chat.turn_end) == ["</s>"]


@pytest.mark.parametrize("rstrip", [False, True])
@pytest.mark.parametrize("scheme", ["first", "always", "never"])
@pytest.mark.parametrize("template", [CHATML, PHI3, ZEPHYR])
def test_text_of_a_special_token_changes_no_other_id(template: str, scheme: str, rstrip: bool) -> None:
    special = ["<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|end|>", "</s>"]
    tokenizer = odd.metaspace(special, scheme=scheme, rstrip=rstrip)
    for text in ("Is @ short?", "@ ends", "It ends with @"):
        query, answer = tiny.query(text), text.replace("?", ".")
        messages = [*dialogue_to_messages(query), {"role": "assistant", "content": answer}]
        expected = tokenizer.apply_chat_template(messages, chat_template=template, return_dict=False)
        written = [tokenizer.convert_tokens_to_ids(list("</s>")), [tokenizer.convert_tokens_to_ids("@")]]
        chat, encoded = rendered(tokenizer, template, text.replace("@", "</s>"), answer.replace("@", "</s>"))
        ids = [*chat.head, *encoded.query, *encoded.generation_prompt, *encoded.responses[0], *chat.turn_end]
        replaced = [
            one for number in expected for one in (written[0] if [number] == written[1] else [number])
        ]
        assert ids == replaced
