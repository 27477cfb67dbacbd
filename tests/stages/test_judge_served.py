"""stages/judge.py: a judge behind `transformers serve`."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from apo.core.errors import UserError
from tests.helpers.fake_endpoint import use_fast_retries
from tests.helpers.fake_judge import output_bytes, play, write_answers


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder for each test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    use_fast_retries(monkeypatch)


def random_judge(folder: Path) -> Path:
    """A Llama with random weights that says A or B and ends; which of them depends on the whole prompt."""
    import torch

    from tests.helpers import tiny_models as tiny

    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = (
        "{{ bos_token }}{% for message in messages %}{{ '\n\nHuman: ' + message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
    )
    model = tiny.language_model(seed=3, max_position_embeddings=2048)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter *= 50.0  # so that a word far away decides, and by more than a rounding
    letters = tokenizer.convert_tokens_to_ids(["<0x41>", "<0x42>"])
    assert tokenizer.decode(letters) == "AB"
    end = tokenizer.eos_token_id
    model.generation_config.update(
        do_sample=False,
        min_new_tokens=1,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=[token for token in range(len(tokenizer)) if token not in (*letters, end)],
        bad_words_ids=[[first, second] for first in letters for second in letters],
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def generated(folder: Path, prompt: str) -> str:
    """The model's reply without a server."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    reply = model.generate(**ids, max_new_tokens=16)[0, ids["input_ids"].shape[1] :]
    text: str = tokenizer.decode(reply, skip_special_tokens=True)
    return text


@pytest.fixture(scope="module")
def served_model(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, str, subprocess.Popen[bytes]]]:
    """`transformers serve` with the random judge: its folder, which is its name, its address, its process."""
    folder = random_judge(tmp_path_factory.mktemp("judge") / "model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = (folder / "log").open("wb")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=5) as health:
                    assert health.status == 200
                break
            except urllib.error.URLError:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield folder, f"{url}/v1", process
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.mark.slow
def test_judge_of_transformers_serve(
    served_model: tuple[Path, str, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url, process = served_model
    texts = {"x": [f"The answer is {n}." for n in range(8)], "y": [f"I do not know {n}!" for n in range(8)]}
    write_answers(Path("data/evaluate"), **texts)
    monkeypatch.setenv("APO_JUDGE_URL", url)
    template = "{query} One: {answer_a} Two: {answer_b} Say A or B."
    changes = {"model": str(folder), "max_tokens": 16, "prompt": template}
    rows, metrics = play(**changes)

    pair = metrics["x_vs_y"]
    assert pair["queries"] == 8 and pair["replies"] == 16 and pair["replies_unparsable"] == 0
    letters = [(row["forward"]["verdict"], row["backward"]["verdict"]) for row in rows]
    expected = []
    for number, (first, second) in enumerate(zip(texts["x"], texts["y"], strict=True)):
        query = f"Human: question {number}\n\nAssistant:"
        shown = [f"{query} One: {a} Two: {b} Say A or B." for a, b in ((first, second), (second, first))]
        expected.append(tuple(generated(folder, prompt) for prompt in shown))
    assert letters == expected
    assert {letter for pair in expected for letter in pair} == {"A", "B"}
    assert {row["outcome"] for row in rows} == {"win", "tie"}
    assert all(row["forward"]["served_by"].startswith(str(folder)) for row in rows)

    with pytest.raises(UserError, match=r"found status 400 .*Server is pinned to .* for model 'another'"):
        play(**changes | {"model": "another"})
    before = output_bytes()
    process.kill()
    process.wait()
    assert play(**changes) == (rows, metrics) and output_bytes() == before  # every reply is cached
    with pytest.raises(UserError, match=r"found no connection \(.* after 12 retries"):
        play(**changes | {"temperature": 1.0})
    assert re.search(r"POST /v1/chat/completions", (folder / "log").read_text())
