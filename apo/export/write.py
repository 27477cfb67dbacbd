"""This pipeline's records in the formats that other tools read.

    python -m apo.export --to authors data/split/test.jsonl test.json

authors     the authors' scripts: one JSON list; the kind of the records is recognized by their keys
pairs       {prompt, chosen, rejected} as text: a comparison's strict orders, a selection's best and worst
pairs-chat  the same as messages
dialogues   {chosen, rejected} of the same, each the whole conversation as messages
answers     {prompt, answers: [{text, score}, ...]}: all responses of a query with their scores or rewards
sft         {prompt, completion} as text, of selections, golden answers and demonstrations
sft-chat    the same as messages
chat        {messages}, of the same

With --model FOLDER, pairs and sft are rendered with the chat template of that model, as text that TRL and
other tools take without a template: a begin token that the tokenizer adds by itself is left out, and an
answer ends with the tokenizer's end token. Messages need no model: their reader applies a template. A
dialogue that the template refuses is merged and counted if the model merges such dialogues.

All but the first are JSON Lines. A row that the format can't represent is an error, and nothing is written;
with --leave-out such rows are left out and counted.
"""

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row, read_numbered_rows, write_list, write_rows
from apo.export.authors import to_authors
from apo.export.kinds import UnfitError
from apo.export.trainers import (
    to_answers,
    to_chat,
    to_chat_pairs,
    to_chat_sft,
    to_dialogues,
    to_pairs,
    to_sft,
)

FORMATS: dict[str, Callable[..., Iterator[Row]]] = {
    "authors": to_authors,
    "pairs": to_pairs,
    "pairs-chat": to_chat_pairs,
    "dialogues": to_dialogues,
    "answers": to_answers,
    "sft": to_sft,
    "sft-chat": to_chat_sft,
    "chat": to_chat,
}


TEMPLATED = ("pairs", "sft")  # formats of plain text that a chat template can render


def export(
    source: Path,
    target: Path,
    *,
    to: str,
    counts: Counter[str],
    leave_out: bool = False,
    model: Path | None = None,
) -> int:
    """Writes a records file in another format, as a stream; returns the number of rows written.

    Args:
        source: JSON Lines.
        target: The file, written atomically.
        to: One of `FORMATS`.
        counts: Receives `rows` (read), `rows_without_pair`, which become no row of the format,
            `rows_left_out`, and `rows_merged`, whose turns the chat template takes merged only.
        leave_out: Whether a row that the format can't represent is left out; otherwise it is an error.
        model: A checkpoint whose chat template renders the texts of a format of `TEMPLATED`.

    Raises:
        UserError: The records are of the wrong kind for the format, or it can't represent one.
    """
    template = _template(model, to) if model else None

    def rows() -> Iterator[Row]:
        for number, row in read_numbered_rows(source):
            counts["rows"] += 1
            where, merges = f"{source}:{number}", Counter[str]()
            try:
                records = list(FORMATS[to](row, where=where))
                if template:
                    records = [_render(template, record, merges, where) for record in records]
            except UnfitError:
                if not leave_out:
                    raise
                counts["rows_left_out"] += 1
                continue
            counts["rows_without_pair"] += not records
            counts["rows_merged"] += bool(merges)
            yield from records

    return (write_list if to == "authors" else write_rows)(target, rows())


def _template(model: Path, to: str) -> Any:
    if to not in TEMPLATED:
        raise UserError(
            "--model",
            found=f"--to {to}",
            expected=f"one of {', '.join(TEMPLATED)}",
            do="leave --model away: the other formats hold no text that a chat template writes",
        )
    from apo.model.checkpoint import load_reward_encoder, open_tokenizer  # seconds
    from apo.model.checkpoint_files import read_json
    from apo.model.encoding import Encoder

    if "apo" in read_json(model / "config.json"):  # a reward model of this pipeline
        encoder = load_reward_encoder(model)
    else:
        encoder = Encoder(open_tokenizer(model), 1, "eos", "", "left")
    if encoder.tokenizer.eos_token is None:
        raise UserError(
            "--model",
            found=f"{model}, whose tokenizer has no eos_token",
            expected="one with which an answer ends: TRL ends every answer with it",
            do="set `eos_token` in its tokenizer_config.json, or write pairs-chat or sft-chat",
        )
    return replace(encoder, pooling="eos", ends=(0,)).template


def _render(template: Any, row: Row, merges: Counter[str], where: str) -> Row:
    """A row {prompt, ...} in the HH form as the text from which TRL makes the ids of the chat template.

    TRL lets the tokenizer add its begin token, and adds `eos_token` to an answer that does not end with it.
    So the first is left out where the tokenizer adds one, and what the template writes behind the second.
    """
    answers = {key: text.strip() for key, text in row.items() if key != "prompt"}
    prompt, texts = _write(template, row["prompt"], list(answers.values()), merges, where)
    bos, eos = template.tokenizer.bos_token, template.tokenizer.eos_token
    if bos and template.tokenizer("x")["input_ids"][0] == template.tokenizer.bos_token_id:
        prompt = prompt.removeprefix(bos)
    if not all(text.rstrip().endswith(eos) for text in texts):
        raise UserError(
            "--model",
            found=f"a chat template that ends a turn without {eos!r}, which TRL then adds",
            expected="one that ends it with the tokenizer's eos_token",
            do="write pairs-chat or sft-chat, which TRL renders with the template itself",
        )
    return {"prompt": prompt, **dict(zip(answers, (text.rstrip() for text in texts), strict=True))}


def _write(
    template: Any, query: str, answers: Sequence[str], merges: Counter[str], where: str
) -> tuple[str, list[str]]:
    """`ChatTemplate.write`, which counts a dialogue that it merges.

    Raises:
        UnfitError: The template refuses the dialogue, or a text has that of a special token.
    """
    from apo.model.chat_template import REFUSED
    from apo.model.special_tokens import special_token_pattern, special_tokens

    pattern = special_token_pattern(special_tokens(template.tokenizer))
    if match := next(filter(None, map(pattern.search, [query, *answers])), None):
        raise UnfitError(
            where,
            found=f"{match[0]!r} in a text: TRL reads it as the special token",
            expected="texts without special tokens",
            do="write pairs-chat or sft-chat, or leave the row out (--leave-out)",
        )
    options = template.tokenizer.init_kwargs
    policy = options.get(REFUSED)
    options[REFUSED] = "error"  # `write` would merge without a count
    try:
        written: tuple[str, list[str]] = template.write(query, answers, where=where)
        return written
    except UserError as error:
        found = error.found
    finally:
        options[REFUSED] = policy
    if policy == "merge":
        with contextlib.suppress(UserError):
            written = template.write(query, answers, where=where)
            merges["dialogues"] += 1
            return written
    raise UnfitError(
        where,
        found=found,
        expected="one that it can write",
        do="add --leave-out, or set the checkpoint's refused_dialogues to merge",
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m apo.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--to", choices=FORMATS, required=True, help="format to write")
    parser.add_argument("--leave-out", action="store_true", help="leave rows out that the format can't hold")
    parser.add_argument("--model", type=Path, help="a checkpoint whose chat template writes pairs or sft")
    parser.add_argument("source", type=Path, help="JSON Lines that this pipeline wrote")
    parser.add_argument("target", type=Path, help="file to write")
    options = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    try:
        count = export(
            options.source,
            options.target,
            to=options.to,
            counts=counts,
            leave_out=options.leave_out,
            model=options.model,
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    message = [f"{options.target}: {count} rows"]
    for name, verb in (
        ("rows_without_pair", "have no pair"),
        ("rows_left_out", "are left out"),
        ("rows_merged", "have merged turns"),
    ):
        if counts[name]:
            message.append(f"{counts[name]} of {counts['rows']} {verb}")
    print("; ".join(message))
    return 0
