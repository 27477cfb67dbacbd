"""The blocks of docs/results.md that the study makes; all text between them is written by hand."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from apo.core.errors import UserError
from study.claims import claims, same_samples
from study.comparing import APO, BASE, Row, Value, arms, between, of_arm, played
from study.settings import Settings
from study.statistics import Paired, holm

END = "<!-- end -->"
CONTROL = "no adversarial samples (coeff 0)"
OTHER_START = ("human comparisons", "label noise", "actor")
COMPONENTS = ("content", "instruction", "tone", "length", "rambling", "repetition", "form")


def blocks(rows: Sequence[Row], settings: Settings) -> dict[str, str]:
    """All blocks by name, in Markdown."""
    return {
        "games": games_table(rows, settings),
        "reward models": rm_table(rows),
        "language models": llm_table(rows),
        "claims": claims_table(rows),
        "map": map_table(rows, settings),
        "control": control_table(rows, settings),
        "confirmation": confirmation_table(rows, settings),
        "points": points_table(rows),
    }


def put_into(page: str, made: dict[str, str], where: Path) -> str:
    """The page with each block between its own marker and the next end marker.

    Raises:
        UserError: The page has not the markers of a block.
    """
    for name, text in made.items():
        begin = f"<!-- made by make study: {name} -->"
        before, found, rest = page.partition(begin)
        _, end, after = rest.partition(END)
        if not found or not end:
            raise UserError(
                str(where), found=f"no lines {begin} and {END}", expected="both", do="put them back"
            )
        page = f"{before}{begin}\n\n{text}\n\n{END}{after}"
    return page


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def games_table(rows: Sequence[Row], settings: Settings) -> str:
    """How many seeds of each were played, and how long a game took (on one thread, beside other work).

    A game after the first of its seed finds in the cache what they have in common.
    """
    lines = []
    for kind, names, seeds in (
        ("method", list(settings.methods), settings.seeds),
        ("condition", [place.name for place in settings.map], settings.seeds),
        ("confirmation", settings.confirmation.places, settings.confirmation.seeds),
    ):
        for name in names:
            seconds = [game["seconds"] for game in played(rows, kind, name).values()]
            if seconds:
                lines.append([kind, name, f"{len(seconds)} of {len(seeds)}", f"{fmean(seconds):.0f}"])
    return table(["", "", "seeds played", "seconds a game"], lines)


def rm_table(rows: Sequence[Row]) -> str:
    """The reward models and what they choose, by round and, in round two, by method."""
    lines = []
    for one, name in (("r1", "rjs"), ("r2", "rjs"), ("r2", "rrhf"), ("r2", "dpo")):
        title = "1" if one == "r1" else f"2, {name}"
        for measure, said in (
            ("accuracy", "test accuracy"),
            ("ece", "ECE, 10 bins"),
            ("tau", "tau on the samples"),
            ("chosen", "true reward of the chosen responses"),
            ("share_of_best", "... as a part of the way from a random to the best sample"),
        ):
            found = arms(played(rows, "method", name), measure, one)
            if found:
                lines.append([title, said, *_paired(found)])
    return table(["round", "measure", *_HEAD], lines)


def llm_table(rows: Sequence[Row]) -> str:
    """The aligned language models by method and round."""
    lines = []
    for name in ("rjs", "rrhf", "dpo"):
        for one in ("r1", "r2"):
            for measure, said in (
                ("llm_true_reward", "true reward"),
                ("llm_score", "score by the testing RM"),
                ("llm_kl", "KL to the actor, nats a token"),
                ("llm_words", "words"),
            ):
                found = arms(played(rows, "method", name), measure, one)
                if found:
                    lines.append([name, one[1:], said, *_paired(found)])
    return table(["method", "round", "measure", *_HEAD], lines)


def claims_table(rows: Sequence[Row]) -> str:
    """Each claim of the paper in a line."""
    lines = []
    for claim in claims(rows):
        found = claim.found
        number = "" if found is None else f": {_difference(found)}, {found.seeds} seeds"
        lines.append([claim.text, f"{claim.measured}{number}", f"**{claim.verdict}**"])
    return table(["the paper", "here", "verdict"], lines)


def map_table(rows: Sequence[Row], settings: Settings) -> str:
    """Where the APO RM chooses better than the base RM: the baseline and one change at a time.

    p by sign flips, and corrected by Holm for all places of the map that were played.
    """
    places = [("baseline", "baseline", played(rows, "method", "rjs"))]
    places += [(one.family, one.name, played(rows, "condition", one.name)) for one in settings.map]
    found = [(family, name, games, arms(games, "chosen")) for family, name, games in places]
    known = [(family, name, games, chosen) for family, name, games, chosen in found if chosen]
    corrected = holm([chosen.p for *_, chosen in known])
    lines = []
    for (family, name, games, chosen), p in zip(known, corrected, strict=True):
        accuracy, ece, tau = (arms(games, measure) for measure in ("accuracy", "ece", "tau"))
        start = [game["start"] for game in games.values()]
        lines.append(
            [
                family,
                name,
                str(chosen.seeds),
                f"{fmean(one['golden_better'] for one in start):.2f}",
                *(f"{one.second:.3f} -> {one.first:.3f}" if one else "" for one in (accuracy, ece, tau)),
                f"{chosen.second:.3f} -> {chosen.first:.3f}",
                _difference(chosen),
                _p(chosen.p),
                _p(p),
            ]
        )
    head = [
        "",
        "place",
        "seeds",
        "golden better",
        "accuracy",
        "ECE",
        "tau",
        "chosen",
        "difference",
        "p",
        "Holm",
    ]
    below = [
        f"{name} ({'APO' if chosen.difference > 0 else 'base'} is better; Holm {_p(p)})"
        for (_, name, _, chosen), p in zip(known, corrected, strict=True)
        if chosen.p < 0.01
    ]
    said = "; ".join(below) or "none"
    return f"{table(head, lines)}\n\nOf {len(known)} places, those with p below 0.01: {said}."


def control_table(rows: Sequence[Row], settings: Settings) -> str:
    """Whether it is the samples that help: each RM of the APO arm beside one that saw none (coeff 0).

    The base RM takes fewer steps than both, so it is the weaker control. Places with other human comparisons
    or another actor are left out: coeff 0 of the baseline is no control for them.
    """
    control = played(rows, "condition", CONTROL)
    places = [("baseline", played(rows, "method", "rjs"))]
    places += [
        (one.name, played(rows, "condition", one.name))
        for one in settings.map
        if one.name != CONTROL and one.family not in OTHER_START
    ]
    lines = []
    for name, games in places:
        same = {seed: game for seed, game in games.items() if same_samples(game, rows)}
        line = [name]
        for measure in ("accuracy", "ece", "chosen"):
            value = of_arm(measure, "r1", APO)
            found = between(same, value, control, value)
            line += [_difference(found), _p(found.p)] if found else []
        if len(line) > 1:
            lines.append([*line, str(len(set(same) & set(control)))])
    return table(["place", "accuracy", "p", "ECE", "p", "chosen", "p", "seeds"], lines)


def confirmation_table(rows: Sequence[Row], settings: Settings) -> str:
    """Places of the map once more on fresh seeds: against the base RM, and against coeff 0 of these seeds."""
    control = played(rows, "confirmation", CONTROL)
    lines = []
    for name in settings.confirmation.places:
        games = played(rows, "confirmation", name)
        for measure, said in (
            ("accuracy", "test accuracy"),
            ("ece", "ECE, 10 bins"),
            ("tau", "tau on the samples"),
            ("chosen", "true reward of the chosen responses"),
        ):
            value = of_arm(measure, "r1", APO)
            against = [("base RM", arms(games, measure))]
            if name != CONTROL:
                against.append(("coeff 0", between(games, value, control, value)))
            lines += [[name, said, other, *_paired(found)] for other, found in against if found]
    return table(["place", "measure", "against", "it", "APO", *_HEAD[2:]], lines)


def points_table(rows: Sequence[Row]) -> str:
    """APO minus base by component of the true reward: of what was chosen, and of what the LLM then says."""
    games = played(rows, "method", "rjs")
    lines = []
    for name in COMPONENTS:
        line = [name]
        for read in (_chosen_points, _answer_points):
            found = between(games, read(APO, name), games, read(BASE, name))
            line.append(_difference(found) if found else "")
        lines.append(line)
    return table(["component", "chosen responses, round 1", "answers of the LLM, rjs, round 1"], lines)


def _chosen_points(arm: int, name: str) -> Value:
    return lambda row: float(row["points"]["chosen"][("base", "apo")[arm]][name])


def _answer_points(arm: int, name: str) -> Value:
    return lambda row: float(row["points"]["answers"][("base_r1", "apo_r1")[arm]][name])


_HEAD = ("base", "APO", "difference, 95 % interval", "p", "seeds")


def _paired(found: Paired) -> list[str]:
    return [f"{found.second:.3f}", f"{found.first:.3f}", _difference(found), _p(found.p), str(found.seeds)]


def _difference(found: Paired) -> str:
    return f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.0095 else f"{p:.4f}"
