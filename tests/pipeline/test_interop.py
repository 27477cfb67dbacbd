"""Checkpoints and files in the code of others: transformers' pipeline, TRL, RewardBench's command."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from apo.core.dialogue import dialogue_to_messages
from apo.core.records import read_rows, write_rows
from apo.export.write import main as export
from apo.model.checkpoint import save_reward_model
from apo.model.reward_model import RewardModel
from apo.scoring.rewards import rewards_of
from apo.selection import select
from tests.helpers import tiny_models as tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default"),  # of the libraries of others, about each other
]
ROOT = Path(__file__).parents[2]
REWARDBENCH = ROOT / ".venv" / "rewardbench"
COMPARISONS = [
    {
        "query_id": f"q{n}",
        "query": ("\n\nHuman: Tell me a story.\n\nAssistant: Of a dog." if n % 2 else "")
        + tiny.query(f"What is {n} plus {n}?"),
        "responses": [f"{n} plus {n} makes {2 * n}, my friend.", "no", "Once upon a time"][: 2 + n % 2],
        "scores": [2.0, 0.0, 1.0][: 2 + n % 2],
    }
    for n in range(9)
]


def write_selection(path: Path) -> Path:
    """Writes a selection as the stage `rjs` does."""
    samples = [
        {"query_id": r["query_id"], "query": r["query"], "samples": r["responses"]} for r in COMPARISONS
    ]
    scores = [{"query_id": r["query_id"], "scores": r["scores"]} for r in COMPARISONS]
    rows = select(
        samples, scores, include_extra=False, samples_source="s", rewards_source="r", counts=Counter()
    )
    write_rows(path, rows)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rm`, a reward model as the stages save it, and `llm`, a language model."""
    folder = tmp_path_factory.mktemp("models")
    tiny.backbone(folder / "llm")
    save_reward_model(tiny.reward_model(folder / "llm", max_length=256), folder / "rm", tiny.CARD)
    return folder


@pytest.fixture
def rm(models: Path) -> RewardModel:
    return tiny.reward_model(models / "llm", max_length=256)


def conversation(query: str, response: str) -> list[dict[str, str]]:
    return [*dialogue_to_messages(query), {"role": "assistant", "content": response}]


def our_rewards(rm: RewardModel, rows: list[dict[str, Any]]) -> list[list[float]]:
    texts = [(row["query"], row["responses"]) for row in rows]
    return list(rewards_of(rm, list(rm.encoder.items(texts, Counter(), where="rows")), desc=""))


def trainer_settings(kind: Any, folder: Path, **more: Any) -> Any:
    """One step or two on the CPU, nothing reported and nothing saved."""
    return kind(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        learning_rate=1.0e-3,
        activation_checkpointing=False,
        **more,
    )


def opened(path: Path, folder: Path) -> Any:
    import datasets

    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache"))


# transformers --------------------------------------------------------------------------------------


def test_a_text_classification_pipeline_gives_the_rewards(models: Path, rm: RewardModel) -> None:
    from transformers import pipeline

    pipe = pipeline("text-classification", model=str(models / "rm"), device="cpu")
    flat = [(row["query"], response) for row in COMPARISONS for response in row["responses"]]
    texts = pipe.tokenizer.apply_chat_template([conversation(*pair) for pair in flat], tokenize=False)
    results = pipe(texts, function_to_apply="none", add_special_tokens=False, batch_size=4)
    expected = [reward for rewards in our_rewards(rm, COMPARISONS) for reward in rewards]
    assert [one["score"] for one in results] == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 3) for value in expected}) > 10


# TRL -----------------------------------------------------------------------------------------------


def test_trl_rewards_its_completions_with_a_checkpoint(models: Path, rm: RewardModel, tmp_path: Path) -> None:
    """GRPO with the folder as `reward_funcs`: each completion gets our reward, white space or not."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    drawn: list[dict[str, Any]] = []

    def watch(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        for prompt, completion in zip(prompts, completions, strict=True):
            [answer], [asked] = completion, prompt
            drawn.append({"query": tiny.query(asked["content"]), "responses": [answer["content"]]})
        return [0.0] * len(prompts)

    prompts = [[{"role": "user", "content": f"What is {n} plus 1?"}] for n in range(4)]
    settings = trainer_settings(
        GRPOConfig,
        tmp_path,
        max_steps=1,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=6,
    )
    trainer = GRPOTrainer(
        model=str(models / "llm"),
        reward_funcs=[str(models / "rm"), watch],
        args=settings,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
    )
    given: list[float] = []
    trainer.reward_funcs[0].register_forward_hook(lambda *seen: given.extend(seen[2].logits[:, 0].tolist()))
    trainer.train()
    assert len(drawn) == 8 and len({row["responses"][0] for row in drawn}) > 4
    assert given == pytest.approx([rewards[0] for rewards in our_rewards(rm, drawn)], abs=1e-5)
    [logged] = [entry for entry in trainer.state.log_history if "rewards/rm/mean" in entry]
    assert logged["rewards/rm/mean"] == pytest.approx(sum(given) / 8, abs=1e-4)


def test_trl_trains_a_reward_model_from_a_checkpoint(models: Path, rm: RewardModel, tmp_path: Path) -> None:
    """Its loss on the pairs is the Bradley-Terry loss of our rewards."""
    from trl import RewardConfig, RewardTrainer

    write_rows(tmp_path / "comparisons.jsonl", COMPARISONS[::2])  # with two responses each
    paths = [str(tmp_path / name) for name in ("comparisons.jsonl", "pairs.jsonl")]
    assert export(["--to", "pairs-chat", *paths]) == 0
    settings = trainer_settings(
        RewardConfig, tmp_path, max_steps=1, per_device_train_batch_size=5, disable_dropout=True
    )
    trainer = RewardTrainer(
        model=str(models / "rm"), args=settings, train_dataset=opened(tmp_path / "pairs.jsonl", tmp_path)
    )
    trainer.train()
    rewards = torch.tensor(our_rewards(rm, COMPARISONS[::2]))
    loss = -torch.nn.functional.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), abs=1e-4)


@pytest.fixture
def rjs(tmp_path: Path) -> Path:
    return write_selection(tmp_path / "rjs.jsonl")


def test_the_selection_trains_in_the_sft_trainer_as_it_is(models: Path, rjs: Path, tmp_path: Path) -> None:
    """And its first loss is the mean negative log-likelihood of the targets and their end tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    settings = trainer_settings(SFTConfig, tmp_path, max_steps=1, per_device_train_batch_size=9)
    trainer = SFTTrainer(model=str(models / "llm"), args=settings, train_dataset=opened(rjs, tmp_path))
    trainer.train()
    model = AutoModelForCausalLM.from_pretrained(models / "llm").eval()
    tokenizer = AutoTokenizer.from_pretrained(models / "llm")
    losses: list[float] = []
    for row in read_rows(rjs):
        prompt = tokenizer(row["query"])["input_ids"]
        ids = torch.tensor([tokenizer(f"{row['query']} {row['target']}")["input_ids"] + [2]])
        with torch.inference_mode():
            likelihood = torch.log_softmax(model(ids).logits[0, :-1], -1).gather(1, ids[0, 1:, None])
        losses += (-likelihood[len(prompt) - 1 :, 0]).tolist()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-3)


def test_the_scored_pairs_train_in_the_dpo_trainer_as_they_are(
    models: Path, rjs: Path, tmp_path: Path
) -> None:
    """The first loss of DPO is ln 2; after some steps the chosen ones are likelier than they were."""
    from trl import DPOConfig, DPOTrainer

    assert export(["--to", "pairs", str(rjs), str(tmp_path / "pairs.jsonl")]) == 0
    settings = trainer_settings(
        DPOConfig, tmp_path, max_steps=4, per_device_train_batch_size=9, lr_scheduler_type="constant"
    )
    trainer = DPOTrainer(
        model=str(models / "llm"), args=settings, train_dataset=opened(tmp_path / "pairs.jsonl", tmp_path)
    )
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert log[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert log[-1]["loss"] < log[0]["loss"] and log[-1]["rewards/margins"] > 0


# RewardBench ---------------------------------------------------------------------------------------


def examples() -> list[dict[str, list[dict[str, str]]]]:
    """The pairs that RewardBench's own tests hold, as whole conversations."""
    tree = ast.parse((REWARDBENCH / "tests" / "test_data.py").read_text(encoding="utf-8"))
    sections = []
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        section: dict[str, Any] = {}
        for node in function.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                section[ast.literal_eval(node.targets[0].slice)] = ast.literal_eval(node.value)
        if section.keys() == {"prompt", "chosen", "rejected"}:
            prompt = section["prompt"]
            asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            sides = ("chosen", "rejected")
            sections.append({s: [*asked, {"role": "assistant", "content": section[s]}] for s in sides})
    return sections


def rewardbench(folder: Path, dataset: Path) -> tuple[list[dict[str, Any]], float]:
    """What its command writes about each pair, and the accuracy that it tells."""
    options = ["--load_json", "--not_quantized", "--torch_dtype", "float32", "--batch_size", "4"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.rewardbench",
            "--model",
            "rm",
            "--dataset",
            str(dataset),
            *options,
        ],
        cwd=folder,
        env=os.environ
        | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{REWARDBENCH}",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(folder / "hf"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"Results: ([\d.]+), on", done.stdout)
    assert accuracy
    return list(read_rows(folder / "results" / "rm_outputs.jsonl")), float(accuracy[1])


@pytest.mark.skipif(not REWARDBENCH.is_dir(), reason="make interop installs RewardBench")
@pytest.mark.parametrize("template", [True, False], ids=["its examples", "our comparisons"])
def test_rewardbench_gives_our_rewards(models: Path, rm: RewardModel, tmp_path: Path, template: bool) -> None:
    (tmp_path / "rm").symlink_to(models / "rm")
    if template:
        pairs = examples()
        assert len(pairs) == 4 and {len(pair["chosen"]) for pair in pairs} == {2, 4}
        write_rows(tmp_path / "dialogues.jsonl", pairs)
    else:
        write_rows(tmp_path / "comparisons.jsonl", COMPARISONS)
        paths = [str(tmp_path / name) for name in ("comparisons.jsonl", "dialogues.jsonl")]
        assert export(["--to", "dialogues", *paths]) == 0
        pairs = list(read_rows(tmp_path / "dialogues.jsonl"))
        assert len(pairs) == 5 + 4 * 3
    rows, accuracy = rewardbench(tmp_path, tmp_path / "dialogues.jsonl")
    ours = [[reward_of(rm, pair[side]) for side in ("chosen", "rejected")] for pair in pairs]
    assert [row["scores_chosen"] for row in rows] == pytest.approx([a for a, _ in ours], abs=1e-5)
    assert [row["scores_rejected"] for row in rows] == pytest.approx([b for _, b in ours], abs=1e-5)
    assert accuracy == pytest.approx(sum(a > b for a, b in ours) / len(ours))


def reward_of(rm: RewardModel, messages: list[dict[str, str]]) -> float:
    """Of the last message, the others of which are written as a query in the HH form."""
    names = {"user": "Human", "assistant": "Assistant"}
    query = "".join(f"\n\n{names[m['role']]}: {m['content']}" for m in messages[:-1]) + "\n\nAssistant:"
    [[reward]] = our_rewards(rm, [{"query": query, "responses": [messages[-1]["content"]]}])
    return reward
