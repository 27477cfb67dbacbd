"""A small run for the report: the files of one round, as the stages write them."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

from apo.report.figures import figures
from apo.report.page import build_page
from apo.report.run import Run

ROOT = Path(__file__).parents[2]

HOSTILE = (
    "<script>window.hurt = 1</script> </script><!-- <img src=x onerror='window.hurt = 2'> &lt;b&gt; "
    "\ufffd\ufffd \x01\x1b\x9f \u202egnorw\u202c \u2028\u2029 {{style}} " + "long" * 200
)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_metrics(folder: Path, name: str, content: dict[str, Any]) -> None:
    path = folder / "metrics" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def query(number: int) -> str:
    return (
        f"\n\nHuman: Question {number}?\n\nAssistant: Which one?\n\nHuman: The one of {number}.\n\nAssistant:"
    )


def write_run(folder: Path, *, queries: int = 6, hostile: int = 2) -> None:
    """A run of one round in which the RMs disagree about every third LLM query.

    Args:
        folder: Gets `data`, `metrics` and `params.yaml`.
        queries: LLM queries; there are as many test queries, and half as many RM queries.
        hostile: Number of the LLM query whose second sample is HOSTILE.
    """
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    data, kinds = folder / "data", ("helpful", "harmless")
    names = {
        part: [f"{part}-{i}" for i in range(n)]
        for part, n in (("llm", queries), ("test", queries), ("rm", queries // 2))
    }
    golden = [
        {"query_id": name, "query": query(i), "golden": f" Golden {name}.", "type": kinds[i % 2]}
        for of_part in names.values()
        for i, name in enumerate(of_part)
    ]
    write_lines(data / "raw/golden.jsonl", golden)
    (data / "raw/truth.json").write_text("{}\n")
    samples = [
        {
            "query_id": name,
            "query": query(i),
            "type": kinds[i % 2],
            "made_by": "actor",
            "samples": [f"First of {name}", HOSTILE if i == hostile else f"Second of {name}", ""],
        }
        for i, name in enumerate(names["llm"])
    ]
    for arm in ("base", "apo"):
        write_lines(data / f"samples/r1/{arm}.jsonl", samples)
        scores, selected = [], []
        for i, row in enumerate(samples):
            second = arm == "apo" and i % 3 == 0
            scores.append({"query_id": row["query_id"], "scores": [1.0, 1.5 + i if second else -1.0, -3.0]})
            selected.append({"query_id": row["query_id"], "query": row["query"], "target_index": int(second)})
        write_lines(data / f"scores/r1/{arm}.jsonl", scores)
        write_lines(data / f"rjs/r1/{arm}.jsonl", selected)
    rm = [
        {"query_id": name, "query": query(i), "type": "helpful", "samples": [f"Of {name}"]}
        for i, name in enumerate(names["rm"])
    ]
    write_lines(data / "samples/r1/rm.jsonl", rm)
    for llm, place, start in (
        ("actor", "evaluate/r0", 0.0),
        ("golden", "evaluate/r0", 9.0),
        ("llm_base_r1", "answers/r1/base", 1.0),
        ("llm_apo_r1", "answers/r1/apo", 2.0),
    ):
        write_lines(
            data / place / f"{llm}.jsonl",
            [
                {
                    "query_id": name,
                    "query": query(i),
                    "type": kinds[i % 2],
                    "samples": [f"{llm} says {i}"],
                    "scores": [start + i * (1 if llm == "llm_apo_r1" else 0)],
                }
                for i, name in enumerate(names["test"])
            ],
        )
    _write_metrics(folder)


def _write_metrics(folder: Path) -> None:
    """Of every stage; of most of them only a number."""
    for name in ("data", "split", "golden", "backbone", "actor"):
        write_metrics(folder, name, {name: {"rows": 7}})
    rm = {
        "accuracy": 0.7,
        "accuracy_low": 0.65,
        "accuracy_high": 0.75,
        "nll": 0.5,
        "ece_10": 0.02,
        "pairs": 90,
        "by_type": {"helpful": {"accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9}},
    }
    for name in ("train_base_rm", "train_test_rm", "r1/train_apo_rm"):
        key = name.removeprefix("r1/") + ("_r1" if "/" in name else "")
        write_metrics(folder, name, {key: {"train": {"final_loss": 0.5}}})
    write_metrics(folder, "evaluate_base_rm", {"base_rm": {"test": rm, "valid": rm}})
    write_metrics(folder, "evaluate_test_rm", {"test_rm": {"test": rm}})
    write_metrics(
        folder,
        "r1/evaluate_apo_rm",
        {
            "apo_rm_r1": {
                "test": rm | {"accuracy": 0.72},
                "calibration": {"ece_10_low": 0.01, "ece_10_high": 0.03},
            }
        },
    )
    llm = {
        "score_mean": 1.0,
        "score_low": 0.9,
        "score_high": 1.1,
        "words_mean": 3.0,
        "blank": 0,
        "queries": 6,
    }
    write_metrics(
        folder,
        "answer_actor",
        {"answer_actor": llm | {"score_mean": 0.25, "golden": llm | {"score_mean": 9.0}}},
    )
    write_metrics(folder, "judge", {"judge": {"questions": 0}})
    duel = {
        "difference": 0.5,
        "low": 0.25,
        "high": 0.75,
        "win": 4,
        "tie": 1,
        "lose": 1,
        "win_rate": 0.75,
        "win_rate_low": 0.5,
        "win_rate_high": 0.875,
        "sign_test_p": 0.25,
    }
    evaluation = {
        "llm_apo_r1_vs_llm_base_r1": {"score": duel},
        "llm_apo_r1_vs_actor": {"score": {**duel, "difference": 0.75}},
        "apo_rm_r1_vs_base_rm": {"accuracy": {"pairs": 90, "difference": 0.02, "low": -0.01, "high": 0.05}},
    }
    write_metrics(folder, "r1/evaluate", {"evaluate_r1": evaluation})
    gain = {"reward_mean": 2.0, "gain": 2.0, "gain_low": 1.5, "gain_high": 2.5}
    write_metrics(
        folder,
        "r1/payoff",
        {
            "payoff_r1": {
                "base_rm": {"actor": {"reward_mean": 1.0}, "llm_apo_r1": {"reward_mean": 1.25}},
                "apo_rm_r1": {"actor": {"reward_mean": 0.0}, "llm_apo_r1": gain},
            }
        },
    )
    for arm in ("base", "apo"):
        write_metrics(folder, f"r1/answer_{arm}", {f"answer_llm_{arm}_r1": llm})
        for stage in ("sample", "score", "rjs", "align"):
            write_metrics(folder, f"r1/{stage}_{arm}", {f"{stage}_{arm}_r1": {"queries": 6}})
    for stage in ("sample_rm", "convert"):
        write_metrics(folder, f"r1/{stage}", {f"{stage}_r1": {"queries": 3}})
    curves = folder / "metrics/curves"
    for name in (
        "r0/backbone",
        "r0/actor",
        "r0/train_base_rm/training",
        "r0/test_rm/training",
        "r1/train_apo_rm/training",
        "r1/align_apo",
    ):
        (curves / name).parent.mkdir(parents=True, exist_ok=True)
        (curves / f"{name}.csv").write_text("step,loss,lr\n1,2.5,0.1\n2,1.5,0.1\n")
    (curves / "r0/evaluate_test_rm").mkdir()
    (curves / "r0/evaluate_test_rm/reliability.csv").write_text(
        "split,lower,upper,count,probability,frequency\ntest,0.5,0.6,10,0.55,0.5\ntest,0.6,0.7,0,,\n"
    )
    bins = "lower,upper,reward,count,share\nchosen,0,1,0.5,1,0.25\nchosen,1,2,1.5,3,0.75\n"
    of_bins = "lower,upper,margin,pairs,accuracy,low,high,probability\n0,1,0.5,9,0.6,0.4,0.8,0.62\n"
    of_truth = "lower,upper,reward,true_reward,count,low,high\n0,1,0.5,-1.0,1,,\n1,2,1.5,1.0,9,0.5,1.5\n"
    of_rounds = "round,arm,llm,score,score_low,score_high\n" + "".join(
        f"{one},{arm},llm,{score},{score - 0.1},{score + 0.1}\n"
        for one, arm, score in (
            ("r0", "base", 1.0),
            ("r0", "apo", 1.0),
            ("r1", "base", 2.0),
            ("r1", "apo", 3.0),
        )
    )
    for name, text in (
        ("r0/evaluate_base_rm/rewards", "kind," + bins),
        ("r0/evaluate_base_rm/margins", of_bins),
        ("r1/payoff/apo_rm/golden_samples", "kind," + bins),
        ("r1/payoff/apo_rm/truth", of_truth),
        ("r1/payoff/base_rm/truth", "lower,upper,reward,true_reward,count,low,high\n"),
        ("r1/evaluate/rounds", of_rounds),
    ):
        (curves / name).parent.mkdir(parents=True, exist_ok=True)
        (curves / f"{name}.csv").write_text(text)


def settings() -> dict[str, Any]:
    """The parameters as committed."""
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return values


def page_of(run: Run) -> str:
    plots = figures(run.curves, run.metrics, ["r1"])
    return build_page(run, plots, run.transcripts, settings())


def text_of(page: str) -> str:
    """What a reader sees without JavaScript."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.text, self.inside = "", ""

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.inside = tag if tag in ("script", "style") else ""

        def handle_endtag(self, tag: str) -> None:
            self.inside = ""

        def handle_data(self, data: str) -> None:
            self.text += "" if self.inside else data

    reader = Reader()
    reader.feed(page)
    return reader.text
