"""The study: its statistics by hand, its report on made-up numbers, and, slow, tiny games played really."""

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy import stats

from apo.core.errors import UserError
from study import play
from study.claims import FAILS, HOLDS, OPEN, UNPLAYED, claims, ece_and_choice, judge
from study.comparing import APO, BASE, arms, between, of_arm, played
from study.facts import golden_against_samples, points
from study.preloaded import PreloadedPython
from study.report import END, blocks, put_into
from study.settings import SETTINGS, Game, games, part_of, quick_settings, read_settings
from study.statistics import holm, mean_interval, paired, sign_flip
from tests.helpers.small_repo import ROOT, copy_repository, run

# Statistics ----------------------------------------------------------------------------------------


def test_an_interval_by_hand() -> None:
    # Mean 2, s = 1, and the 97.5 % quantile of t with two degrees of freedom is 4.3027.
    low, high = mean_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-4)


def test_the_interval_and_the_t_test_agree() -> None:
    values = np.random.default_rng(1).normal(0.4, 1.0, 9)
    p = stats.ttest_1samp(values, 0.0).pvalue
    low, _ = mean_interval(values, confidence=1 - p)
    assert low == pytest.approx(0.0, abs=1e-9)  # the interval that ends at 0 is that of the p-value


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    draw = np.random.default_rng(2).normal(3.0, 2.0, (2000, 6))
    inside = sum(low <= 3.0 <= high for low, high in map(mean_interval, draw))
    assert 0.935 <= inside / 2000 <= 0.965


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 1.0, 1.0], 2 / 8),  # all plus and all minus
        ([1.0, 2.0, -3.0], 1.0),  # the sum is 0: every choice is as far
        ([3.0, 2.0, -1.0], 4 / 8),  # |4|: +++ 6, ++- 4, and their mirror images
        ([0.0, 0.0], 1.0),
        ([0.1, 0.2, -0.3], 1.0),  # 0.1 + 0.2 - 0.3 is not exactly 0 in floating point
    ],
)
def test_sign_flips_by_hand(differences: list[float], p: float) -> None:
    assert sign_flip(differences) == p


def test_sign_flips_as_counted_one_by_one() -> None:
    values = np.random.default_rng(3).normal(0.5, 1.0, 7)
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=7)]
    assert sign_flip(values) == np.mean([one >= abs(values.sum()) - 1e-12 for one in sums])
    assert sign_flip(values) == sign_flip(-values) == sign_flip(5 * values[::-1])


def test_the_sign_flip_test_is_as_strict_as_it_says() -> None:
    draw = np.random.default_rng(4).normal(0.0, 1.0, (1000, 8))
    assert 0.03 <= np.mean([sign_flip(one) <= 0.05 for one in draw]) <= 0.07


def test_a_paired_difference() -> None:
    found = paired([2.0, 4.0, 9.0], [1.0, 2.0, 6.0])
    assert (found.seeds, found.first, found.second, found.difference) == (3, 5.0, 3.0, 2.0)
    assert (found.low, found.high) == mean_interval([1.0, 2.0, 3.0])
    assert found.p == 0.25
    turned = paired([1.0, 2.0, 6.0], [2.0, 4.0, 9.0])
    assert (turned.difference, turned.low) == pytest.approx((-2.0, -found.high))


def test_what_no_statistic_is_made_of() -> None:
    with pytest.raises(UserError, match="1 seeds"):
        mean_interval([1.0])
    with pytest.raises(UserError, match="1 of them without a finite number"):
        mean_interval([1.0, math.nan])
    with pytest.raises(UserError, match="at most 16"):
        sign_flip([1.0] * 17)
    with pytest.raises(ValueError, match="not pairs"):
        paired([1.0, 2.0], [1.0])


def test_holm() -> None:
    assert holm([0.04, 0.01]) == [0.04, 0.02]
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
    ps = list(np.random.default_rng(5).uniform(0, 1, 20))
    corrected = holm(ps)
    assert all(p <= one <= min(1.0, 20 * p) for p, one in zip(ps, corrected, strict=True))
    assert np.argsort(ps).tolist() == sorted(range(20), key=lambda i: (corrected[i], ps[i]))


# Claims --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "side", "paper", "verdict"),
    [
        (0.001, 0.05, 1, 0.037, HOLDS),
        (-0.05, -0.001, 1, 0.037, FAILS),
        (-0.01, 0.0184, 1, 0.037, FAILS),  # less than half of 0.037
        (-0.01, 0.0186, 1, 0.037, OPEN),
        (-0.01, 0.0001, 1, None, OPEN),
        (-0.05, -0.001, -1, -0.0646, HOLDS),
        (-0.0322, 0.01, -1, -0.0646, FAILS),
        (-0.0324, 0.01, -1, -0.0646, OPEN),
        (-0.009, 0.009, 0, None, HOLDS),
        (0.011, 0.03, 0, None, FAILS),
        (-0.011, 0.009, 0, None, OPEN),
    ],
)
def test_verdicts(low: float, high: float, side: int, paper: float | None, verdict: str) -> None:
    assert judge(low, high, side=side, paper=paper) == verdict


def made_up(seeds: int = 4, **changes: float) -> list[dict[str, Any]]:
    """Rows of games in which the APO arm is better by 0.01 (times a factor near 1) in everything."""
    settings = read_settings()
    rows = []
    for line in games(settings.model_copy(update={"seeds": list(range(1, seeds + 1))})):
        for game in line:
            lift = changes.get(game.name, 0.01) * (1 + 0.1 * game.seed)
            measures = ("accuracy", "agreement", "nll", "ece", "chosen", "share_of_best", "tau")
            llm = ("llm_true_reward", "llm_score", "llm_kl", "llm_words")
            pairs = {name: [0.5, 0.5 + lift] for name in (*measures, *llm)}
            point = dict.fromkeys(("content", "instruction", "tone", "length", "rambling"), 0.1)
            point |= {"repetition": 0.0, "form": 0.0}
            rows.append(
                {
                    "kind": game.kind,
                    "name": game.name,
                    "seed": game.seed,
                    "seconds": 10.0,
                    "pairs": {"r1": pairs, "r2": pairs},
                    "start": {"random": -0.5, "best": 1.0, "golden_better": 0.9},
                    "points": {
                        "chosen": {"base": point, "apo": {**point, "tone": 0.2 + lift}},
                        "answers": {"base_r1": point, "apo_r1": point},
                    },
                }
            )
    return rows


def test_arms_are_paired_by_seed() -> None:
    rows = made_up()
    rows.reverse()
    first = played(rows, "method", "rjs")
    found = arms(first, "accuracy")
    assert found is not None
    assert found.seeds == 4
    assert found.difference == pytest.approx(0.01 * (1 + 0.1 * 2.5))
    assert found.second == pytest.approx(0.5)
    del first[2], first[3]["pairs"]["r1"]["tau"]
    fewer = arms(first, "tau")
    assert fewer is not None
    assert fewer.seeds == 2  # 1 and 4
    assert arms({1: first[1]}, "tau") is None


def test_a_condition_against_the_baseline() -> None:
    rows = made_up(WGAN=0.05)
    value = of_arm("ece", "r1", APO)
    found = between(played(rows, "condition", "WGAN"), value, played(rows, "method", "rjs"), value)
    assert found is not None
    assert found.difference == pytest.approx(0.04 * 1.25)
    assert of_arm("ece", "r1", BASE)(rows[0]) == 0.5


def test_claims_by_name_meet_their_games() -> None:
    """A condition that is renamed in the settings would leave its claims without games."""
    found = claims(made_up())
    assert all(
        claim.found is not None and claim.found.seeds == 4 for claim in found if "rank" not in claim.measured
    )
    by_text = {claim.text[:24]: claim for claim in found}
    assert by_text["the APO RM is more accur"].verdict == HOLDS
    assert by_text["golden > samples alone ("].verdict == FAILS  # claimed worse, made up better
    turned = {claim.text[:24]: claim for claim in claims(made_up(**{"GAIL (kl_coeff 0)": -0.05}))}
    assert turned["golden > samples alone ("].verdict == HOLDS
    assert all(claim.verdict == UNPLAYED for claim in claims([]))


def test_ece_and_choice_of_opposite_order() -> None:
    rows = made_up(WGAN=0.03, **{"coeff 0.5": 0.02})
    for row in rows:
        row["pairs"]["r1"]["share_of_best"] = [0.5, 1 - row["pairs"]["r1"]["ece"][APO]]
    found = ece_and_choice(rows)
    assert found is not None
    assert found.difference == pytest.approx(-1.0)
    for row in rows:
        if row["kind"] == "condition":
            row["start"] = {**row["start"], "random": -0.6}  # other samples: not to be compared
    assert ece_and_choice(rows) is None


# The report ----------------------------------------------------------------------------------------


def test_the_report() -> None:
    made = blocks(made_up(), read_settings())
    assert "| baseline | baseline | 4 | 0.90 | 0.500 -> 0.512 |" in made["map"]
    assert "| 0.125 | 1.000 |" in made["map"]  # 2 of 16 flips, times 17 places
    assert "| tone | +0.113 (" in made["points"]
    assert (
        "| rjs | 1 | true reward | 0.500 | 0.512 | +0.013 (+0.010 to +0.015) | 0.125 | 4 |"
        in made["language models"]
    )
    assert made["map"].endswith("Of 17 places, those with p below 0.01: none.")
    assert "| method | rrhf | 4 of 10 | 10 |" in made["games"]
    for text in made.values():
        assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_the_report_names_the_places_where_one_is_better() -> None:
    made = blocks(made_up(seeds=8, WGAN=-0.1, **{"coeff 0.5": 0.0}), read_settings())
    found = made["map"].splitlines()[-1]
    assert "WGAN (base is better; Holm 0.133);" in found  # 17 x 2 / 256
    assert "baseline (APO is better; Holm 0.133);" in found
    assert "coeff 0.5" not in found
    assert "| WGAN | -0.16" in made["control"]  # (-0.1 - 0.01) x (1 + 0.1 x seed), mean over 8 seeds
    assert "no adversarial" not in made["control"]


def test_a_half_played_study_is_reported() -> None:
    made = blocks([row for row in made_up() if row["kind"] == "method" and row["seed"] < 3], read_settings())
    assert "| test accuracy, GAIL minus base | **not played** |" in made["claims"]
    assert made["map"].count("\n|") == 2  # line, baseline
    assert "Of 0 places" in blocks([], read_settings())["map"]


def test_a_confirmation_stands_apart_from_the_map() -> None:
    rows = made_up(**{"coeff 2": 0.02})
    made = blocks(rows, read_settings())
    assert "| coeff | coeff 2 | 4 |" in made["map"]
    # On seeds 11 to 20: 0.02 and (0.02 - 0.01), times the mean of 1 + 0.1 x seed.
    accuracy = "| coeff 2 | test accuracy |"
    assert f"{accuracy} base RM | 0.500 | 0.551 | +0.051 (" in made["confirmation"]
    assert f"{accuracy} coeff 0 | 0.52" in made["confirmation"]
    without = [row for row in rows if row["kind"] != "confirmation"]
    assert blocks(without, read_settings()) == made | {
        "confirmation": blocks([], read_settings())["confirmation"],
        "games": blocks(without, read_settings())["games"],
    }


def test_a_confirmation_of_what_is_not_on_the_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    text = SETTINGS.read_text(encoding="utf-8")
    path.write_text(text.replace("(coeff 0), coeff 2]", "(coeff 0), coeff 3]"), encoding="utf-8")
    with pytest.raises(UserError, match="coeff 3 is no place of the map"):
        read_settings(path)


def test_blocks_on_the_page(tmp_path: Path) -> None:
    page = f"a\n<!-- made by make study: x -->\nold\n{END}\nb\n<!-- made by make study: y -->\n{END}\n"
    once = put_into(page, {"x": "new", "y": "too"}, tmp_path)
    before, between_them, after = once.partition("b\n")
    assert before == f"a\n<!-- made by make study: x -->\n\nnew\n\n{END}\n"
    assert between_them + after == f"b\n<!-- made by make study: y -->\n\ntoo\n\n{END}\n"
    assert put_into(once, {"x": "new", "y": "too"}, tmp_path) == once
    with pytest.raises(UserError, match="put them back"):
        put_into(page, {"z": "?"}, tmp_path)


# What is played ------------------------------------------------------------------------------------


def test_every_change_is_of_a_key_that_is_there(tmp_path: Path) -> None:
    for settings in (read_settings(), quick_settings(read_settings())):
        for game in itertools.chain.from_iterable(games(settings.model_copy(update={"seeds": [7]}))):
            params = tmp_path / "params.yaml"
            params.write_bytes((ROOT / "params.yaml").read_bytes())
            play.change(params, game.changes)
            loaded = YAML(typ="safe").load(params.read_text(encoding="utf-8"))
            assert loaded["seed"] == game.seed
            assert loaded["rounds"][1] == {"id": "r2", "prev": "r1"}
    with pytest.raises(UserError, match=r"apo\.coef;"):
        play.change(params, {"apo.coef": 1.0})


def test_the_order_of_play() -> None:
    settings = read_settings()
    lines = list(games(settings))
    assert [[game.name for game in line] for line in lines[:10]] == [["rjs", "rrhf", "dpo"]] * 10
    assert [line[0].seed for line in lines[:10]] == settings.seeds
    assert [(line[0].name, line[0].seed) for line in lines[10:20]] == [
        (settings.map[0].name, seed) for seed in settings.seeds
    ]
    fresh = settings.confirmation
    assert [[(game.name, game.seed) for game in line] for line in lines[-len(fresh.seeds) :]] == [
        [(name, seed) for name in fresh.places] for seed in fresh.seeds
    ]
    assert not {*fresh.seeds} & {*settings.seeds}
    assert len({play.key_of(game, "code") for line in lines for game in line}) == sum(map(len, lines))


def test_a_part_of_the_study() -> None:
    part = part_of(read_settings(), seeds=[3, 2], names=["dpo", "WGAN"])
    assert [[(game.name, game.seed) for game in line] for line in games(part)] == [
        [("dpo", 2)],
        [("dpo", 3)],
        [("WGAN", 2)],
        [("WGAN", 3)],
    ]
    assert part_of(read_settings(), seeds=[], names=[]) == read_settings()
    with pytest.raises(UserError, match=r"found 77, gan; expected some of 1, .* rjs, rrhf, dpo, no "):
        part_of(read_settings(), seeds=[77, 1], names=["gan"])


def test_a_result_is_kept_for_the_same_code_and_parameters_alone() -> None:
    game = Game("method", "rjs", 1, {"seed": 1}, ["evaluate@round1"])
    renamed = Game("method", "RJS", 1, {"seed": 1}, ["evaluate@round1"])
    assert play.key_of(game, "a") == play.key_of(renamed, "a") != play.key_of(game, "b")
    other = Game("method", "rjs", 1, {"seed": 1, "apo.coeff": 0.2}, ["evaluate@round1"])
    assert play.key_of(other, "a") != play.key_of(game, "a")
    files = play.played_files()
    assert {"params.yaml", "dvc.yaml", "apo/core/config.py", "stages/align.py"} <= set(files)
    assert not any(name.startswith(("study/", "tests/", "metrics/")) for name in files)


# What is read off a game ---------------------------------------------------------------------------

SUM = "\n\nHuman: What is two plus three?\n\nAssistant:"


def test_points_of_answers() -> None:
    # Right and plain: 1.5 for content, 0.5 as no instruction is given. Wrong: -1 for content.
    found = points([(SUM, " Two plus three is five."), (SUM, " Two plus three is four."), (SUM, " ...")])
    assert found["content"] == pytest.approx((1.5 - 1.0) / 2)
    assert (found["instruction"], found["tone"], found["blank"]) == (0.5, 0.0, 1)


def test_golden_answers_against_samples() -> None:
    item = {
        "query": SUM,
        "responses": [" Two plus three is five.", " Two plus three is four.", " Two plus three is five."],
        "scores": [1.0, 0.0, 0.0],
    }
    found = golden_against_samples([item])
    assert (found["better"], found["equal"], found["worse"]) == (0.5, 0.5, 0.0)
    assert found["golden"] - found["sample"] == pytest.approx(2.5 / 2)


# Slow: played really -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_quick_study_is_played(tmp_path: Path) -> None:
    repository = copy_repository(tmp_path, small=False)
    command = [sys.executable, "-m", "study", "--quick", "--only", "rjs", "no adversarial samples (coeff 0)"]
    first = run(command, repository)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "4 games, 0 of them kept from before" in first.stdout
    assert "4 of 4: " in first.stdout
    report = first.stdout.partition("games\n|")[2]
    assert "| method | rjs | 2 of 2 |" in report
    assert "| baseline | baseline | 2 |" in report
    again = run(command, repository)
    assert "4 games, 4 of them kept from before" in again.stdout
    assert again.stdout.partition("games\n|")[2] == report
    assert not (repository / "study/results.jsonl").exists() or (
        (repository / "study/results.jsonl").read_bytes() == (ROOT / "study/results.jsonl").read_bytes()
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stages_of_a_preloaded_python_write_the_same(tmp_path: Path) -> None:
    written = []
    for name in ("plain", "preloaded"):
        repository = copy_repository(tmp_path / name)
        run(["dvc", "init", "-q", "-f"], repository)
        if name == "plain":
            done = run(["dvc", "repro", "train_base_rm"], repository, APO_THREADS="1", OMP_NUM_THREADS="1")
        else:
            with PreloadedPython() as python:
                path = str(play.environment(python.folder)["PATH"])
                done = run(
                    ["env", f"PATH={path}", "dvc", "repro", "train_base_rm"], repository, APO_THREADS="1"
                )
        assert done.returncode == 0, done.stdout + done.stderr
        lock = YAML(typ="safe").load((repository / "dvc.lock").read_text(encoding="utf-8"))
        written.append(
            {
                out["path"]: out["md5"]
                for stage in lock["stages"].values()
                for out in stage["outs"]
                if not out["path"].endswith(".provenance.json")
            }
        )
    assert written[0] == written[1]
    assert len(written[0]) > 15


@pytest.mark.slow
def test_a_stage_that_fails_in_a_preloaded_python_says_so(tmp_path: Path) -> None:
    repository = copy_repository(tmp_path, {"data": {"demo": {"temperature": -1.0}}})
    with PreloadedPython() as python:
        path = str(play.environment(python.folder)["PATH"])
        done = run(["env", f"PATH={path}", "dvc", "repro", "data"], repository)
    assert done.returncode
    assert "error: params.yaml: data.demo.temperature" in done.stdout + done.stderr
