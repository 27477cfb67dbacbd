"""apo/model/hh_template.py: the chat template of the HH form writes dialogues as they stand."""

from typing import Any

import pytest

from apo.core.dialogue import dialogue_to_messages
from apo.model.hh_template import hh_template, is_hh
from tests.helpers import tiny_models as tiny

QUERIES = {
    "one turn": "\n\nHuman: Why?\n\nAssistant:",
    "three turns": "\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: And?\n\nAssistant:",
    "system text": "Be brief.\n\nHuman: Why?\n\nAssistant:",
    "human twice": "\n\nHuman: Why?\n\nHuman: Say!\n\nAssistant:",
}


def written(query: str, answer: str | None = None, **changes: Any) -> str:
    messages = dialogue_to_messages(query)
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    text: str = tiny.shared_tokenizer().apply_chat_template(
        messages,
        chat_template=hh_template(**changes),
        tokenize=False,
        add_generation_prompt=answer is None,
    )
    return text


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_hh_template_writes_a_query_as_it_stands(query: str) -> None:
    assert written(query) == f"<s>{query}"
    assert written(query, "Yes.") == f"<s>{query} Yes.</s>"
    assert written(query, " Yes.\n") == f"<s>{query} Yes.</s>"
    assert written(query, "  ") == f"<s>{query}</s>"


def test_hh_template_puts_the_separator_before_the_last_answer() -> None:
    query = QUERIES["three turns"]
    assert written(query, separator="<sep>") == f"<s>{query}<sep>"
    assert written(query, "Yes.", separator="<sep>", end="") == f"<s>{query}<sep> Yes."


def test_is_hh_knows_its_own() -> None:
    reader = tiny.shared_tokenizer()
    for separator in ("", "<pad>", "<unk>"):
        for end in ("", "{{ eos_token }}"):
            assert is_hh(hh_template(separator=separator, end=end), reader)


EDITED = {
    "none": "",
    "a beginning": "{{ bos_token }}" + hh_template(),
    "another end": hh_template(end="<|im_end|>"),
    "a line behind the end": hh_template(end="{{ eos_token }}{{ '\\n' }}"),
    "another generation prompt": hh_template().replace(
        "Assistant:' }}{% endif", "Assistant: Sure.' }}{% endif"
    ),
    "a word before every answer": hh_template(separator=" Sure."),
    "two separators": hh_template(separator="<pad>").replace("<pad>", "<unk>", 1),
}


@pytest.mark.parametrize("template", EDITED.values(), ids=EDITED)
def test_is_hh_takes_an_edited_one_for_another(template: str) -> None:
    assert template != hh_template() and not is_hh(template, tiny.shared_tokenizer())


def test_hh_template_marks_turns_as_dialogues_do() -> None:
    from apo.core.dialogue import ASSISTANT, HUMAN

    assert HUMAN.replace("\n", "\\n") in hh_template()
    assert ASSISTANT.replace("\n", "\\n") in hh_template()
