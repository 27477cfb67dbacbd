"""Turns that a model invented after its answer, in the texts of other people's models.

A sample of this pipeline in the HH form is cut at `Human:` (`apo.core.dialogue.cut_runaway`). Texts of other
models go on in the form of their own template.
"""

import re

from apo.core.dialogue import cut_runaway

_SPEAKERS = "|".join(
    [
        *("human", "user", "assistant", "用户", "用戶", "人类", "ユーザー", "사용자", "usuario", "usuário"),
        *("utilisateur", "benutzer", "nutzer", "utente", "пользователь"),
    ]
)
_MARKS = "|".join(
    [
        rf"(?:\r?\n[ \t]*){{2,}}(?:\*\*)?(?:{_SPEAKERS})(?:\*\*)?[ \t]*[:\uff1a]",  # after a blank line
        r"\r?\n[ \t]*(?:#+[ \t]*|\*\*)(?:human|user|instruction)(?:\*\*)?[ \t]*:",
        r"(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>)\s*(?:user|assistant|model)",
        rf"(?:<\|endoftext\|>|</s>)\s*(?:{_SPEAKERS})\s*[:\uff1a]",
        r"\r?\n[ \t]*<(?:user|human)>\s*:\s|\[\|(?:user|human)\|\]",
        r"<\|(?:user|human|prompter)\|>|<\uff5cuser\uff5c>|\[INST\]",
        r"\s(?-i:USER):(?=.*(?-i:ASSISTANT):)",  # Vicuna's, on one line
    ]
)
_END = r"<\|im_end\|>|<\|eot_id\|>|<\|end\|>|<\|end_of_text\|>|<\|endoftext\|>|<end_of_turn>|</s>"
ENDS = re.compile(rf"(?:\s*(?:{_END}))+\s*\Z")
"""The end of a turn, as a chat template writes it, at the end of a text."""
_INVENTED = re.compile(_MARKS, re.IGNORECASE)
_WORDS = (
    *_SPEAKERS.split("|"),
    "instruction",
    "prompter",
    "[inst]",
    "model",
)  # one of them is in every such turn


def cut_invented_turn(text: str) -> tuple[str, bool]:
    """Cuts an answer of a model before the next turn of anybody, in the form of any known template.

    Lines such as `user: root` inside an answer stay: without a blank line before them they are no turn.

    >>> cut_invented_turn("Sure.<|im_start|>user\\nThanks")
    ('Sure.', True)
    >>> cut_invented_turn("login:\\nuser: root")
    ('login:\\nuser: root', False)

    Returns:
        The text, without the end of its turn and white space before a cut, and whether it was cut.
    """
    if "\n" not in text and "<" not in text and "[" not in text and "USER:" not in text:  # much faster
        return text, False
    lowered = text.lower()
    if not any(word in lowered for word in _WORDS):
        return text, False
    kept, was_cut = cut_runaway(text)
    turn = _INVENTED.search(kept)
    return (ENDS.sub("", kept[: turn.start()]).rstrip(), True) if turn else (kept, was_cut)
