"""The tables of docs/results.md, except those of the paper's claims and of trends."""

from collections.abc import Sequence
from statistics import fmean

from study.markdown import HEAD, columns, difference_text, means, p_text, table
from study.paired import (
    APO,
    BASE,
    CONTROL,
    Games,
    Row,
    Value,
    against_zero,
    apo_minus_base,
    difference,
    gain,
    games_of,
    mean_over,
    of_arm,
    same_samples,
)
from study.settings import Settings
from study.settings import games as planned_games
from study.statistics import Paired, holm

METHODS = ("rjs", "rrhf", "dpo")
CELLS = [(method, round) for method in METHODS for round in ("r1", "r2")]
"""Language models, by method and round."""
OTHER_START = ("human comparisons", "label noise", "actor", "samples")
"""Families of the sweep for which coeff 0 of the baseline is no control; `samples` has other steps."""
COMPONENTS = ("content", "instruction", "tone", "length", "rambling", "repetition", "form")
RM_MEASURES = {
    "accuracy": "test accuracy",
    "ece": "ECE, 10 bins",
    "tau": "tau on the samples",
    "chosen": "true reward of the chosen responses",
}


def games_table(rows: Sequence[Row], settings: Settings) -> str:
    """The number of seeds played, the mean seconds of a game (one thread, on a busy machine), and its code.

    A game after the first of its seed takes shared results from the cache. With several codes, the games of a
    line are not to be averaged.
    """
    planned: dict[tuple[str, str], int] = {}
    for batch in planned_games(settings):
        for game in batch:
            planned[game.kind, game.name] = planned.get((game.kind, game.name), 0) + 1
    lines = []
    for (kind, name), number in planned.items():
        games = games_of(rows, kind, name).values()
        if games:
            codes = " and ".join(sorted({game.get("code", "older")[:6] for game in games}))
            seconds = fmean(game["seconds"] for game in games)
            lines.append([kind, name, f"{len(games)} of {number}", f"{seconds:.0f}", codes])
    return table(["set", "", "seeds played", "seconds per game", "code"], lines)


def question_results(rows: Sequence[Row]) -> dict[str, Paired | None]:
    """The preregistered question: the choice in round one, and six cells of LLMs."""
    results = {"chosen responses, round 1": apo_minus_base(games_of(rows, "method", "rjs"), "chosen")}
    for method, round in CELLS:
        games = games_of(rows, "method", method)
        results[f"LLM by {method.upper()}, round {round[1:]}"] = apo_minus_base(
            games, "llm_true_reward", round
        )
    return results


def pooled_llm(rows: Sequence[Row], measure: str = "llm_true_reward") -> Paired | None:
    """The mean over the six cells, seed by seed."""
    cells = [(games_of(rows, "method", method), gain(measure, round)) for method, round in CELLS]
    return against_zero(list(mean_over(cells).values()))


def question_table(rows: Sequence[Row]) -> str:
    """The question with Holm over its seven tests, and the pooled line."""
    results = {name: result for name, result in question_results(rows).items() if result}
    corrected = holm([result.p for result in results.values()])
    lines = [
        [name, *means(result), *columns(result), p_text(p)]
        for (name, result), p in zip(results.items(), corrected, strict=True)
    ]
    pooled = pooled_llm(rows)
    if pooled:
        lines.append(["LLM, mean over the six cells", "", "", *columns(pooled), ""])
    return table(["true reward", "base", "APO", *HEAD, "Holm"], lines)


def rm_table(rows: Sequence[Row]) -> str:
    """The reward models and their choices, by round and, in round two, by method."""
    share = "... as a fraction of the way from a random to the best sample"
    lines = []
    for round, name in (("r1", "rjs"), *(("r2", method) for method in METHODS)):
        title = "1" if round == "r1" else f"2, {name}"
        for measure, words in {**RM_MEASURES, "share_of_best": share}.items():
            result = apo_minus_base(games_of(rows, "method", name), measure, round)
            if result:
                lines.append([title, words, *means(result), *columns(result)])
    return table(["round", "measure", "base", "APO", *HEAD], lines)


def llm_table(rows: Sequence[Row]) -> str:
    """The aligned language models by method and round."""
    measures = {
        "llm_true_reward": "true reward",
        "llm_score": "score by the testing RM",
        "llm_kl": "KL to the actor, nats per token",
        "llm_words": "words",
    }
    lines = []
    for name, round in CELLS:
        for measure, words in measures.items():
            result = apo_minus_base(games_of(rows, "method", name), measure, round)
            if result:
                lines.append([name, round[1:], words, *means(result), *columns(result)])
    return table(["method", "round", "measure", "base", "APO", *HEAD], lines)


def settings_of_sweep(rows: Sequence[Row], settings: Settings) -> list[tuple[str, str, Games]]:
    """Family, name and games of the baseline and of every setting of the sweep."""
    sweep = [(change.family, change.name, games_of(rows, "sweep", change.name)) for change in settings.sweep]
    return [("baseline", "baseline", games_of(rows, "method", "rjs")), *sweep]


def sweep_table(rows: Sequence[Row], settings: Settings) -> str:
    """Where the APO RM chooses better than the base RM: the baseline and one change at a time."""
    played = [
        (family, name, games, chosen)
        for family, name, games in settings_of_sweep(rows, settings)
        if (chosen := apo_minus_base(games, "chosen"))
    ]
    corrected = holm([chosen.p for *_, chosen in played])
    lines = []
    for (family, name, games, chosen), p in zip(played, corrected, strict=True):
        rms = [apo_minus_base(games, measure) for measure in ("accuracy", "ece", "tau")]
        lines.append(
            [
                family,
                name,
                f"{fmean(game['start']['golden_better'] for game in games.values()):.2f}",
                *(f"{pair.second:.3f} -> {pair.first:.3f}" if pair else "" for pair in (*rms, chosen)),
                *columns(chosen),
                p_text(p),
            ]
        )
    head = ["", "setting", "golden better", "accuracy", "ECE", "tau", "chosen", *HEAD, "Holm"]
    return table(head, lines)


def control_results(rows: Sequence[Row], settings: Settings, measure: str) -> dict[str, Paired | None]:
    """The APO RM of each setting minus the one without samples (coeff 0), same seed, same samples.

    The families of `OTHER_START` are left out: coeff 0 of the baseline is no control for them.
    """
    control, value = games_of(rows, "sweep", CONTROL), of_arm(measure, "r1", APO)
    results = {}
    for family, name, games in settings_of_sweep(rows, settings):
        if name != CONTROL and family not in OTHER_START:
            same = {seed: game for seed, game in games.items() if same_samples(game, rows)}
            results[name] = difference(same, value, control, value)
    return results


def control_table(rows: Sequence[Row], settings: Settings) -> str:
    """Whether the samples help: each RM of the APO arm against one that was trained without samples."""
    accuracy, ece, chosen = (
        control_results(rows, settings, measure) for measure in ("accuracy", "ece", "chosen")
    )
    played = {name: result for name, result in chosen.items() if result}
    corrected = holm([result.p for result in played.values()])
    lines = []
    for (name, result), p in zip(played.items(), corrected, strict=True):
        rm_results = [rm_result for rm_result in (accuracy[name], ece[name]) if rm_result]
        cells = [
            cell for rm_result in rm_results for cell in (difference_text(rm_result), p_text(rm_result.p))
        ]
        lines.append([name, *cells, *columns(result), p_text(p)])
    return table(["setting", "accuracy", "p", "ECE", "p", "chosen", "p", "seeds", "Holm"], lines)


def confirmation_results(rows: Sequence[Row], settings: Settings) -> dict[tuple[str, str, str], Paired]:
    """By setting, measure and control (`base RM` or `coeff 0`), on the fresh seeds."""
    control = games_of(rows, "confirmation", CONTROL)
    results: dict[tuple[str, str, str], Paired] = {}
    for name in settings.confirmation.settings:
        games = games_of(rows, "confirmation", name)
        for measure in RM_MEASURES:
            value = of_arm(measure, "r1", APO)
            by_control = {"base RM": apo_minus_base(games, measure)}
            if name != CONTROL:
                by_control["coeff 0"] = difference(games, value, control, value)
            results |= {(name, measure, key): result for key, result in by_control.items() if result}
    return results


def confirmation_table(rows: Sequence[Row], settings: Settings) -> str:
    """Settings of the sweep on fresh seeds: against the base RM, and against coeff 0 of these seeds."""
    results = confirmation_results(rows, settings)
    corrected = holm([result.p for result in results.values()])
    lines = [
        [name, RM_MEASURES[measure], control, *means(result), *columns(result), p_text(p)]
        for ((name, measure, control), result), p in zip(results.items(), corrected, strict=True)
    ]
    return table(["setting", "measure", "against", "control", "APO", *HEAD, "Holm"], lines)


def points_table(rows: Sequence[Row]) -> str:
    """APO minus base by component of the true reward, of the chosen responses and of the LLM's answers."""
    games = games_of(rows, "method", "rjs")
    lines = []
    for name in COMPONENTS:
        cells = [name]
        for points_of in (_chosen_points, _answer_points):
            result = difference(games, points_of(APO, name), games, points_of(BASE, name))
            cells += [difference_text(result), p_text(result.p)] if result else ["", ""]
        lines.append(cells)
    head = ["component", "chosen responses, round 1", "p", "answers of the LLM, rjs, round 1", "p"]
    return table(head, lines)


def _chosen_points(arm: int, name: str) -> Value:
    return lambda row: float(row["points"]["chosen"][("base", "apo")[arm]][name])


def _answer_points(arm: int, name: str) -> Value:
    return lambda row: float(row["points"]["answers"][("base_r1", "apo_r1")[arm]][name])
