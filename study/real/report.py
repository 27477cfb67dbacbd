"""docs/real_model.md: the tables of `results.jsonl` of the game with a real model."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

from apo.metrics.statistics import wilson_interval
from study.markdown import table
from study.paired import Row
from study.real.jobs import BASE_RM, TESTING_RM, apo_rm, cut_golden
from study.real.settings import RealSettings

COEFF_0 = "coeff 0"
"""The end of the name of a game that is the control."""
TEMPLATE = Path(__file__).with_name("real_model.md")


def page(rows: Sequence[Row], settings: RealSettings) -> str:
    """The page, from its template."""
    rms = reward_models(rows)
    return TEMPLATE.read_text(encoding="utf-8").format(
        rms=rm_table(rms),
        differences=difference_table(rms, settings),
        less_accurate=less_accurate(rms, settings),
        choices=choice_table(rms),
        golden=golden_table(rows),
        llms=llm_table(rows),
        transcripts=transcripts(rows, settings),
        words=settings.max_words,
        played=f"{len(rows)} of {len(settings.seeds) * jobs_per_seed(settings)}",
        seeds=len({row["seed"] for row in rows}),
        codes=", ".join(sorted({f"`{row['code']}`" for row in rows})),
        cut=queries_cut(rms),
        hours=f"{sum(row['seconds'] for row in rows) / 3600:.1f}",
    )


def jobs_per_seed(settings: RealSettings) -> int:
    """The number of jobs that a seed has."""
    return 1 + len(settings.coefficients) * (1 + len(settings.methods))


def reward_models(rows: Sequence[Row]) -> dict[str, dict[int, Row]]:
    """The measures of every reward model: by its name, the testing RM last, and the seed."""
    rms: dict[str, dict[int, Row]] = {BASE_RM: {}}
    for row in rows:
        if row["kind"] == "rm":
            for name, measured in row["rms"].items():
                rms.setdefault(name, {})[row["seed"]] = measured
    testing = rms.pop(TESTING_RM, {})
    return {name: by_seed for name, by_seed in (*rms.items(), (TESTING_RM, testing)) if by_seed}


def rm_table(rms: dict[str, dict[int, Row]]) -> str:
    """Accuracy by test set with the 95 % interval of its pairs, NLL, ECE: means over the seeds of an RM."""
    sets = sorted({name for by_seed in rms.values() for row in by_seed.values() for name in row["by_set"]})
    lines = []
    for name, by_seed in rms.items():
        rows = list(by_seed.values())
        cells = [_accuracy([row["by_set"][test] for row in rows]) for test in sets]
        overall = _accuracy([(row["accuracy"], row["pairs"]) for row in rows])
        means = [f"{fmean(row[key] for row in rows):.3f}" for key in ("nll", "ece_10")]
        lines.append([name, _seeds(by_seed), *cells, overall, *means])
    return _table(["reward model", "seeds", *sets, "all test pairs", "NLL", "ECE, 10 bins"], lines)


def queries_cut(rms: dict[str, dict[int, Row]]) -> str:
    """The largest number of test comparisons whose query was cut, of all, over the reward models."""
    tested = [row for by_seed in rms.values() for row in by_seed.values() if "queries_cut" in row]
    if not tested:
        return "not known"
    most = max(tested, key=lambda row: row["queries_cut"])
    return f"{most['queries_cut']} of {most['pairs']}"


def _seeds(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _accuracy(parts: Sequence[tuple[float, int]]) -> str:
    """The mean accuracy over seeds, with the interval of the pairs of one seed: all seeds share them."""
    mean, pairs = fmean(accuracy for accuracy, _ in parts), parts[0][1]
    low, high = wilson_interval(mean * pairs, pairs)
    return f"{100 * mean:.1f} ({100 * low:.0f} to {100 * high:.0f})"


def difference_table(rms: dict[str, dict[int, Row]], settings: RealSettings) -> str:
    """Each APO RM minus the base RM and the control, the length control minus its RM too, seed by seed."""
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
        uncut = [apo_rm(settings.length_control)] if name == names[-1] else []
        for other in (BASE_RM, apo_rm(0.0), *uncut):
            seeds = sorted(rms.get(name, {}).keys() & rms.get(other, {}).keys())
            if name != other and seeds:
                cells = [
                    ", ".join(f"{value(rms[name][seed]) - value(rms[other][seed]):+.2f}" for seed in seeds)
                    for value in measures.values()
                ]
                lines.append([name, other, _seeds(seeds), *cells])
    return _table(["", "minus", "seeds", *measures], lines)


def less_accurate(rms: dict[str, dict[int, Row]], settings: RealSettings) -> str:
    """The seeds in which the RM at the largest coefficient is less accurate on the test than its control."""
    games, control = (rms.get(apo_rm(c), {}) for c in (max(settings.coefficients), 0.0))
    seeds = games.keys() & control.keys()
    less = sum(games[seed]["accuracy"] < control[seed]["accuracy"] for seed in seeds)
    return f"{less} of {len(seeds)}"


def choice_table(rms: dict[str, dict[int, Row]]) -> str:
    """What the RMs choose: agreement with the testing RM and with length: means over the seeds of an RM."""
    lines = []
    for name, by_seed in rms.items():
        chosen = {seed: row for seed, row in by_seed.items() if "test_rm" in row}
        if chosen:
            rows = list(chosen.values())
            taus = [_mean_tau(rows, key) for key in ("tau_test_rm", "tau_words")]
            words = [fmean(row["words"][index] for row in rows) for index in range(2)]
            share = fmean(_share_of_the_best(*row["test_rm"]) for row in rows)
            lines.append([name, _seeds(chosen), *taus, f"{share:.2f}", f"{words[0]:.1f} ({words[1]:.1f})"])
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
    """The LLMs' scores by the testing RM with the interval over the queries, KL and length, seed by seed.

    The actor and the LLM of the base arm are the same at every coefficient, so each stands once for a method
    and a seed. `minus coeff 0` is the difference of two mean scores, without an interval.
    """
    games = {
        (row["name"].partition(",")[0], row["seed"], row["name"]): row for row in rows if row["kind"] == "llm"
    }
    lines, seen = [], set()
    for (method, seed, name), row in games.items():
        control = games.get((method, seed, f"{method}, {COEFF_0}"))
        for llm, measured in row["llms"].items():
            if (method, seed, llm) in seen:
                continue
            is_apo = llm == "apo"
            if not is_apo:
                seen.add((method, seed, llm))
            gap = row["apo_vs_base"]
            score, low, high = (measured[f"score_{key}"] for key in ("mean", "low", "high"))
            lines.append(
                [
                    method,
                    seed,
                    f"{llm}, {name.partition(', ')[2]}" if is_apo else llm,
                    f"{score:.2f} ({low:.2f} to {high:.2f})",
                    f"{gap['difference']:+.2f} ({gap['low']:+.2f} to {gap['high']:+.2f})" if is_apo else "",
                    _over_control(measured, control) if is_apo and row is not control else "",
                    f"{measured['kl_per_token']:.3f}" if "kl_per_token" in measured else "",
                    f"{measured['words_mean']:.0f}",
                ]
            )
    head = ["method", "seed", "LLM", "score", "APO minus base", "minus coeff 0", "KL per token", "words"]
    return _table(head, lines)


def _over_control(measured: Row, control: Row | None) -> str:
    return (
        f"{measured['score_mean'] - control['llms']['apo']['score_mean']:+.2f}" if control else "not played"
    )


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
