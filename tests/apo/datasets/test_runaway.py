"""apo/datasets/runaway.py: an answer of a model ends where the next turn begins, in any template."""

import pytest

from apo.datasets.runaway import cut_invented_turn

TURNS = [
    "\n\nHuman: Thanks",
    "\n\nHuman",
    "\n\nhuman: Thanks",
    "\n \n Human: Thanks",
    "\n\n**Human:** Thanks",
    "\n\nHuman\uff1aThanks",
    "\n\nUser: Thanks",
    "\n\nUSER: Thanks\n\nASSISTANT: You are welcome",
    " USER: Thanks ASSISTANT: You are welcome",
    "\n\n用户\uff1a谢谢",
    "\n\nAssistant: And so on",
    "\n### Instruction:\nThanks",
    "\n\n### Human: Thanks",
    "\n## User: Thanks",
    "<|im_start|>user\nThanks",
    "\n<|start_header_id|>user<|end_header_id|>\n\nThanks",
    "<start_of_turn>user\nThanks",
    " [INST] Thanks [/INST]",
    "<|user|>\nThanks",
    "<|prompter|>Thanks",
    "<\uff5cUser\uff5c>Thanks",
    "<|endoftext|>Human: Thanks",
    "</s>\nUSER: Thanks",
    "\n<human>: Thanks",
    "\n[|Human|] Thanks",
    "\n\nUtente: Grazie",
    "\n\nNutzer: Danke",
]
ANSWERS = [
    "The user: root is meant.",
    "login:\nuser: root\npassword: none",
    "1. Rights\nHuman rights are for all",
    "user stories\n\nUsers want less",
    "### Instructions\nMix it.",
    "Use <user>:<password>@host, and tags like <human> or [|x|].",
    "Press USER: it is the left key.",
    "### Response\nThe instruction was clear.",
    "",
]


@pytest.mark.parametrize("turn", TURNS)
def test_cut_invented_turn_cuts_at_the_turn_of_a_template(turn: str) -> None:
    assert cut_invented_turn(f"You are right.{turn}") == ("You are right.", True)


@pytest.mark.parametrize("text", ANSWERS)
def test_cut_invented_turn_keeps_everything_else(text: str) -> None:
    assert cut_invented_turn(text) == (text, False)


@pytest.mark.parametrize(
    "rest",
    [
        "<|im_end|>\n<|im_start|>user\nThanks",
        "<|im_end|>\n<|im_start|>assistant\nmore",
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nok",
        "</s>[INST] more",
        "<end_of_turn>\n<start_of_turn>user\nhi",
        " <|end|>\n<|user|>\nhi",
    ],
)
def test_cut_invented_turn_leaves_no_end_of_a_turn(rest: str) -> None:
    assert cut_invented_turn(f"A wild dog.{rest}") == ("A wild dog.", True)


def test_cut_invented_turn_cuts_at_the_first_of_several() -> None:
    assert cut_invented_turn("Yes.<|im_start|>user\nWhy?\n\nHuman: So?") == ("Yes.", True)
    assert cut_invented_turn("Yes.\n\nHuman: So?<|im_start|>user\nWhy?") == ("Yes.", True)
