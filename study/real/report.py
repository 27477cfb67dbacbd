"""docs/real_model.md: the tables of `results.jsonl` of the game with a real model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from apo.metrics.statistics import wilson_interval
from study.markdown import table
from study.paired import Row
from study.real.jobs import BASE_RM, apo_rm, cut_golden
from study.real.settings import RealSettings

TEMPLATE = Path(__file__).with_name("real_model.md")


def page(rows: Sequence[Row], settings: RealSettings) -> str:
    """The page, from its template."""
    rms = reward_models(rows)
    return TEMPLATE.read_text(encoding="utf-8").format(
        rms=rm_table(rms),
        differences=difference_table(rms, settings),
        choices=choice_table(rms),
        golden=golden_table(rows),
        llms=llm_table(rows),
        transcripts=transcripts(rows, settings),
        words=settings.max_words,
        played=f"{len(rows)} of {len(settings.seeds) * jobs_per_seed(settings)}",
        seeds=len({row["seed"] for row in rows}),
        hours=f"{sum(row['seconds'] for row in rows) / 3600:.1f}",
    )


def jobs_per_seed(settings: RealSettings) -> int:
    """The number of jobs that a seed has."""
    return 1 + len(settings.coefficients) * (1 + len(settings.methods))


def reward_models(rows: Sequence[Row]) -> dict[str, dict[int, Row]]:
    """The measures of every reward model: by its name and the seed."""
    rms: dict[str, dict[int, Row]] = {}
    for row in rows:
        if row["kind"] == "rm":
            for name, measured in row["rms"].items():
                rms.setdefault(name, {})[row["seed"]] = measured
    return rms


def _shared(rms: dict[str, dict[int, Row]]) -> dict[str, list[Row]]:
    """The rows of each reward model at the seeds that all of them have: their means stand side by side."""
    seeds = sorted(set.intersection(*map(set, rms.values()))) if rms else []
    return {name: [by_seed[seed] for seed in seeds] for name, by_seed in rms.items() if seeds}


def rm_table(rms: dict[str, dict[int, Row]]) -> str:
    """Accuracy by test set with the 95 % interval of all pairs, NLL and ECE; means over the seeds."""
    shared = _shared(rms)
    sets = sorted({name for rows in shared.values() for row in rows for name in row["by_set"]})
    lines = []
    for name, rows in shared.items():
        cells = [_accuracy([row["by_set"][test] for row in rows]) for test in sets]
        overall = _accuracy([(row["accuracy"], row["pairs"]) for row in rows])
        means = [f"{fmean(row[key] for row in rows):.3f}" for key in ("nll", "ece_10")]
        lines.append([name, len(rows), *cells, overall, *means])
    return _table(["reward model", "seeds", *sets, "all test pairs", "NLL", "ECE, 10 bins"], lines)


def _accuracy(parts: Sequence[tuple[float, int]]) -> str:
    """The mean accuracy over seeds, with the interval of the pairs of one seed: all seeds share them."""
    mean, pairs = fmean(accuracy for accuracy, _ in parts), parts[0][1]
    low, high = wilson_interval(mean * pairs, pairs)
    return f"{100 * mean:.1f} ({100 * low:.0f} to {100 * high:.0f})"


def difference_table(rms: dict[str, dict[int, Row]], settings: RealSettings) -> str:
    """Each APO RM minus the base RM and minus the control, seed by seed."""
    names = [apo_rm(coefficient) for coefficient in settings.coefficients]
    names.append(cut_golden(settings.length_control))
    measures: dict[str, Callable[[Row], float]] = {
        "accuracy, points": lambda row: 100 * row["accuracy"],
        "ECE": lambda row: row["ece_10"],
        "testing RM's reward of the chosen": lambda row: row["test_rm"][0],
        "words of the chosen": lambda row: row["words"][0],
    }
    lines = []
    for name in names:
        for other in (BASE_RM, apo_rm(0.0)):
            seeds = sorted(rms.get(name, {}).keys() & rms.get(other, {}).keys())
            if name != other and seeds:
                cells = [
                    ", ".join(f"{value(rms[name][seed]) - value(rms[other][seed]):+.2f}" for seed in seeds)
                    for value in measures.values()
                ]
                lines.append([name, other, ", ".join(map(str, seeds)), *cells])
    return _table(["", "minus", "seeds", *measures], lines)


def choice_table(rms: dict[str, dict[int, Row]]) -> str:
    """What the reward models choose: agreement with the testing RM and with length; means over seeds."""
    lines = []
    choosers = {name: by_seed for name, by_seed in rms.items() if "test_rm" in next(iter(by_seed.values()))}
    for name, rows in _shared(choosers).items():
        taus = [_mean_tau(rows, key) for key in ("tau_test_rm", "tau_words")]
        words = [fmean(row["words"][index] for row in rows) for index in range(2)]
        share = fmean(_share_of_the_best(*row["test_rm"]) for row in rows)
        lines.append([name, len(rows), *taus, f"{share:.2f}", f"{words[0]:.1f} ({words[1]:.1f})"])
    head = ["chosen by", "seeds", "tau with the testing RM", "tau with the number of words"]
    return _table([*head, "share of the best choice", "words (of a random one)"], lines)


def _share_of_the_best(chosen: float, random: float, best: float) -> float:
    """How far a choice goes from a random one to the best, in rewards of one testing RM."""
    return (chosen - random) / (best - random) if best > random else float("nan")


def _mean_tau(rows: Sequence[Row], key: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    return f"{fmean(values):+.2f}" if values else ""


def golden_table(rows: Sequence[Row]) -> str:
    """The lengths of golden answers and samples, of all seeds."""
    lines = []
    for row in rows:
        if row["kind"] == "rm":
            golden = row["golden"]
            words = [f"{golden[key]:.0f}" for key in ("golden_words", "sample_words")]
            lines.append(
                [row["name"], row["seed"], golden["queries"], *words, f"{golden['golden_longer']:.2f}"]
            )
    return _table(["RM", "seed", "queries", "golden words", "sample words", "golden is longer"], lines)


def llm_table(rows: Sequence[Row]) -> str:
    """The LLMs' scores by the testing RM with the interval over the queries, KL and length, seed by seed."""
    lines = []
    for row in (row for row in rows if row["kind"] == "llm"):
        for name, llm in row["llms"].items():
            score = f"{llm['score_mean']:.2f} ({llm['score_low']:.2f} to {llm['score_high']:.2f})"
            kl = f"{llm['kl_per_token']:.3f}" if "kl_per_token" in llm else ""
            gap = row["apo_vs_base"]
            versus = (
                f"{gap['difference']:+.2f} ({gap['low']:+.2f} to {gap['high']:+.2f})" if name == "apo" else ""
            )
            lines.append([row["name"], row["seed"], name, score, versus, kl, f"{llm['words_mean']:.0f}"])
    head = ["alignment", "seed", "LLM", "score", "APO minus base", "KL per token", "words"]
    return _table(head, lines)


def transcripts(rows: Sequence[Row], settings: RealSettings) -> str:
    """The answers to `settings.queries` in the first game of each method."""
    parts = []
    seen = set()
    for row in rows:
        method = row["name"].partition(",")[0]
        if row["kind"] == "llm" and method not in seen:
            seen.add(method)
            parts.append(f"Seed {row['seed']}, {row['name']}:")
            for index, query in enumerate(settings.queries):
                lines = [[llm, _one_line(texts[index])] for llm, texts in row["transcripts"].items()]
                parts.append(f"**{query}**\n\n{_table(['LLM', 'answer'], lines)}")
    return "\n\n".join(parts) or "Not played yet."


def _one_line(text: str) -> str:
    return " / ".join(line.strip() for line in text.splitlines() if line.strip()).replace("|", "\\|")


def _table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    return table(head, lines) if lines else "Not played yet."
