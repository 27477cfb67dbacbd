"""study/report.py, study/values.py: pages are what the kept numbers say; no sentence has its own number."""

import re
from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.core.records import read_rows
from study import report
from study.__main__ import DOCS, PAGES, RESULTS, TRANSFER
from study.alignment import samples_results, word_of_two_looks
from study.claims import ECE_AND_CHOICE, claims
from study.golden_weight import WEIGHTS
from study.real.__main__ import RESULTS as REAL_RESULTS
from study.real.jobs import apo_rm
from study.real.report import reward_models
from study.report import TEMPLATES, page
from study.settings import read_settings
from study.statistics import LEVEL, seeds_for
from study.transfer_report import contrast_table, gain_table
from study.transfer_spread import spread_table
from study.values import values
from tests.study.made_up import made_up

ROWS = list(read_rows(RESULTS))
ALIGNMENTS = list(read_rows(TRANSFER)) if TRANSFER.is_file() else []
SETTINGS = read_settings()
PLAYED = {row["kind"] for row in ROWS}

# Numbers that no game can change: coefficients, temperatures and levels, p with ten seeds, learning rates,
# the name of a column, the power that a number of seeds is given for, Pocock's p for two looks, an example.
RUN_INFO = {"0.02", "0.1", "0.3", "0.5", "0.6", "1.2", "0.0", "2.0", "1.0", "0.05", "0.002", "0.8", "0.029"}
RUN_INFO |= {"1.0e-4", "1.0e-6", "0.7", "0.67", "0.70", "0.68", "0.66", "0.69"}
# Those of docs/scale.md.
SCALE = {"1.6", "1.8", "2.2"}


@pytest.mark.parametrize("name", PAGES)
def test_page_is_that_of_the_kept_numbers(name: str) -> None:
    """Or run `python -m study --report`."""
    assert (DOCS / name).read_text(encoding="utf-8") == page(name, ROWS, ALIGNMENTS, SETTINGS)


@pytest.mark.parametrize("name", PAGES)
def test_template_has_no_measured_number(name: str) -> None:
    text = re.sub(r"\{[^}]*\}", "", (TEMPLATES / name).read_text(encoding="utf-8"))
    numbers = set(re.findall(r"(?<![\w.])[+-]?\d+\.\d+(?:e-?\d+)?", text))
    assert numbers <= RUN_INFO | SCALE


@pytest.mark.parametrize("name", PAGES)
def test_page_of_a_study_that_has_hardly_begun_can_be_made(name: str) -> None:
    rows = [row for row in made_up(seeds=2) if row["kind"] == "method"]
    assert "not played" in page(name, rows, [], SETTINGS)
    assert "not played" in page(name, [], [], SETTINGS)


def test_page_says_not_played_only_of_what_was_not() -> None:
    """A misspelled name in a template would say so too."""
    for name in PAGES:
        template = (TEMPLATES / name).read_text(encoding="utf-8")
        without_tables = re.sub(r"(?m)^\|.*\n", "", page(name, ROWS, ALIGNMENTS, SETTINGS))
        assert without_tables.count("not played") == template.count("not played")
    unplayed = [
        line for line in page("when.md", ROWS, ALIGNMENTS, SETTINGS).splitlines() if "| not played" in line
    ]
    start = ("noise of the labels", "| 3 ", "sampled at 0.6", "fine-tuned three times as long")
    start += ("samples per query", "| 8 |")
    assert len(unplayed) == len(start)
    assert all(any(one in line for one in start) for line in unplayed)


def test_place_that_names_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "TEMPLATES", tmp_path)
    (tmp_path / "x.md").write_text("{no_such_value}", encoding="utf-8")
    with pytest.raises(UserError, match="no_such_value"):
        page("x.md", ROWS, [], SETTINGS)


# What the templates say in words, held against the kept numbers.


def test_words_on_the_code_that_played() -> None:
    """One code, that of the commit which results.md names; measure `WEIGHTS` when another one has played."""
    assert {row["code"] for row in (*ROWS, *ALIGNMENTS)} == {"5aca5c67d7e7"}
    assert values(ROWS, ALIGNMENTS, SETTINGS)["mixed"] == "none"


def test_words_on_the_question() -> None:
    numbers = values(ROWS, ALIGNMENTS, SETTINGS)
    assert numbers["holm_low"].value > LEVEL  # "undecided in all seven"
    llms = {name: shown.paired for name, shown in numbers["llm"].items()}
    assert max(llms, key=lambda name: llms[name].difference) == "rrhf 2"  # "the largest of them"


def test_words_on_the_trend_and_coeff_2() -> None:
    numbers = values(ROWS, ALIGNMENTS, SETTINGS)
    assert all(step.paired.p <= LEVEL and step.paired.difference > 0 for step in numbers["trend"].values())
    known = {name: shown.paired for name, shown in numbers["chosen"].items() if shown.paired}
    assert min(known, key=lambda name: known[name].p) == "coeff 2"
    assert max(known, key=lambda name: known[name].difference) == "coeff 2"
    assert all(number.value > LEVEL for number in numbers["chosen_holm"].values())  # "none is decided here"
    assert numbers["fresh_stand"] == "7 of 8"
    assert "true reward" not in numbers["fresh_open"]  # "the choice over both controls among them"
    assert len(numbers["fresh"]) == 8


def test_words_on_the_samples_and_the_steps() -> None:
    numbers = values(ROWS, ALIGNMENTS, SETTINGS)
    chosen, control, fresh = numbers["chosen"], numbers["control"], numbers["fresh"]
    assert control["coeff 2"].paired.difference > 0.6 * chosen["coeff 2"].paired.difference  # "mostly"
    of_fresh = [fresh[f"chosen {name}"].paired.difference for name in ("coeff 0", "base RM")]
    assert of_fresh[0] > 0.6 * of_fresh[1]
    assert chosen["no adversarial samples (coeff 0)"].paired.p > LEVEL
    assert numbers["fresh_control"]["chosen"].paired.p > LEVEL
    assert chosen["baseline"].paired.p > LEVEL  # "not decidedly better than the base RM's"
    assert control["baseline"].paired.spread < chosen["baseline"].paired.spread / 2
    stand = numbers["control_stand"].split(", ")
    assert {"baseline", "coeff 0.5", "coeff 2", "all of them by ordinary writers"} <= set(stand)
    assert numbers["other_p_low"].value > LEVEL  # "told apart in none of these settings"


def test_words_on_gail_and_ece() -> None:
    numbers = values(ROWS, ALIGNMENTS, SETTINGS)
    by_text = {claim.text: claim for claim in claims(ROWS)}
    gail = next(claim for text, claim in by_text.items() if text.startswith("golden > samples alone"))
    assert gail.result is not None
    assert gail.result.high < 0  # "less accurate"
    ece = [number.value for number in numbers["ece_at"].values()]
    assert ece[-1] == max(ece)
    *grows, undecided = [
        numbers["ece_steps"][name].paired for name in ("0.5 to 2", "0.1 to 0.5", "0.02 to 0.1")
    ]
    assert all(step.low > 0 for step in grows)
    assert undecided.p > LEVEL
    assert f"{numbers['ece_choice']}" in page("results.md", ROWS, ALIGNMENTS, SETTINGS)
    assert by_text[ECE_AND_CHOICE].result == numbers["ece_choice"].paired
    assert numbers["ece_choice_holm"].value > LEVEL  # "undecided after Holm"


def test_words_on_human_comparisons_and_on_aligned_llms() -> None:
    numbers = values(ROWS, ALIGNMENTS, SETTINGS)
    few = {name: shown.paired for name, shown in numbers["few"].items()}
    for coefficient in ("0.1", "2"):  # "the fewer, the more"
        assert few[f"{coefficient} slope"].difference < 0
        assert few[f"{coefficient} slope"].p <= LEVEL
    gains = [few[f"2 {number} base"].difference for number in (240, 1200, 4800)]
    assert gains == sorted(gains, reverse=True)
    assert min(few["2 4800 base"].p, few["2 4800"].p) > LEVEL  # "undecided against both controls"
    assert all(few[f"0 {number} base"].p > LEVEL for number in (240, 1200, 4800))
    assert numbers["few_probe"].paired.low > 0  # "not their weight in sum alone"
    few_at_small, many_at_large = (numbers["golden_weight"][name].value for name in ("0.1 240", "2 4800"))
    assert few_at_small == pytest.approx(0.1 * 0.999)
    assert many_at_large == pytest.approx(few_at_small, rel=0.1)  # "what it is"
    assert numbers["aligned"]["mean"].paired.difference > 0  # "the LLM learns from the better choice"
    assert numbers["aligned_verdict"] == "higher"
    mean = numbers["aligned"]["mean"].paired
    first, second = (numbers["aligned_round"][name].paired for name in ("r1", "r2"))
    growth = {name: shown.paired for name, shown in numbers["aligned_growth"].items()}
    assert min(first.low, second.low, growth["true"].low) > 0  # "the second adds"
    assert growth["over first"].p > LEVEL  # "whether it adds more than the first is undecided"
    assert numbers["aligned_power"]["mean score"].value < 0.2  # "will most likely leave it undecided"
    assert numbers["aligned_part"]["fresh"].paired.low > 0
    assert numbers["aligned_interim"] == "3 of 6"
    in_round_two = [numbers["aligned"][f"{method} 2"].paired.p for method in ("rjs", "rrhf", "dpo")]
    assert max(in_round_two) < 0.029 / 4  # "those of round two": Holm's factors are at most 6, 5, 4
    less_accurate = [numbers["few_accuracy"][f"{name} 4800 base"].paired for name in ("0.1", "0")]
    assert all(result.high < 0 for result in less_accurate)
    assert numbers["samples_growth"].paired.low > 0
    assert numbers["gates"][240] < "9" and numbers["gates_small"][240] == "10 of 10"
    assert word_of_two_looks(mean._replace(p=0.04)) == "undecided"  # of each of two looks
    assert numbers["aligned_score"]["mean"].paired.p > LEVEL
    assert all(number.value < 0.8 for number in numbers["aligned_power"].values())  # "less"
    by_samples = [results[2] for results in samples_results(ROWS, SETTINGS).values()]
    needed = [seeds_for(result.difference, result.spread) for result in by_samples if result]
    assert len(needed) == 3
    assert 0 <= needed[0] - needed[-1] <= 3  # "fall little"
    assert numbers["query_share_high"].value < 30  # "more test queries help little"


def test_words_on_the_size_of_the_models() -> None:
    numbers = values(ROWS, ALIGNMENTS, SETTINGS)
    size, few = ({key: shown.paired for key, shown in numbers[name].items()} for name in ("size", "few"))
    assert min(size["0.1 slope"].p, size["2 slope"].p) > LEVEL  # "undecided"
    assert all(result.low > 0 for result in (size["2 64"], few["2 1200"], size["2 192"]))  # "at each width"
    at_small = (size["0.1 64 base"], few["0.1 1200 base"], size["0.1 192 base"])
    assert all(result.p > LEVEL for result in at_small)  # "undecided at each"
    assert all(numbers["size_ece"][f"2 {width}"].paired.low > 0 for width in (64, 192))


def test_words_of_the_readme() -> None:
    numbers = values(ROWS, ALIGNMENTS, SETTINGS)
    readme = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    gains = [numbers["few"][f"2 {number} base"].paired.difference for number in (240, 1200, 4800)]
    assert "by {:.3f} with 240, {:.3f} with 1,200, {:.3f} with 4,800 (undecided)".format(*gains) in readme
    for shown in (
        numbers["question"]["chosen responses, round 1"],
        numbers["pooled"],
        numbers["chosen"]["coeff 2"],
        numbers["fresh"]["chosen base RM"],
        numbers["aligned"]["mean"],
        numbers["aligned_score"]["mean"],
    ):
        assert f"{shown:d} ({shown:i})".replace("+", "") in readme.replace("+", "")


def test_words_on_the_weight_of_golden_answers() -> None:
    numbers = values(ROWS, ALIGNMENTS, SETTINGS)
    baseline = 2 * WEIGHTS["coeff 2"] * SETTINGS.baseline["sample.rm.max_queries"] / 1200
    few = numbers["golden_weight"]["2 240"].value
    real = (DOCS / "real_model.md").read_text(encoding="utf-8")
    assert f"{baseline:.2f} in the baseline of the demo world and {few:.2f} with 240 comparisons" in real
    range_ = f"{numbers['weight_low']:.2f} to {numbers['weight_high']:.2f}"
    assert f"and {range_} of it" in real


def test_words_on_the_real_model() -> None:
    rms = reward_models([row for row in read_rows(REAL_RESULTS) if row["kind"] == "rm"])
    large, small, control = (rms[apo_rm(coefficient)] for coefficient in (2.0, 0.1, 0.0))
    assert sorted(control) == [1, 2, 3]  # "three seeds"
    assert sum(large[seed]["accuracy"] < row["accuracy"] for seed, row in control.items()) == 2
    assert all(large[seed]["ece_10"] > row["ece_10"] for seed, row in control.items())
    assert all(abs(small[seed]["accuracy"] - row["accuracy"]) < 0.02 for seed, row in control.items())


def test_words_on_sets_that_were_not_played() -> None:
    """Rewrite these sentences of the templates when the sets have been played."""
    text = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in PAGES)
    if "alignment" in PLAYED:
        assert "all LLMs here are aligned at 0.1" not in text
        assert "LLMs at\n  a larger coefficient were not played" not in text
    if PLAYED & {"alignment", "comparisons"} or ALIGNMENTS:
        assert "These sets are\n  defined and sized" not in text


def test_rates_are_those_of_scale() -> None:
    text = " ".join((DOCS / "scale.md").read_text(encoding="utf-8").split())
    assert "training takes 1.6 (1B, pairs) to 2.2 times (7B) the hours" in text
    assert "1.7 to 1.8 times RJS" in text


def test_words_on_where_the_gain_goes() -> None:
    found = values(ROWS, ALIGNMENTS, SETTINGS)["transfer"]
    for method in ("rjs", "rrhf", "dpo"):
        ceiling = found[f"400 {method} ceiling"].paired
        assert ceiling.low <= 0 <= ceiling.high  # "undecided"
        assert found[f"400 {method} ceiling score"].paired.high < 0  # "lower with each method"
        assert found[f"400 {method} small"].paired.p > LEVEL  # "at 0.1 undecided with each"
        assert found[f"400 {method} actor"].paired.low > 0
    assert found["400 rjs again"].paired.p > LEVEL
    assert found["400 rjs bend"].paired.low > 0  # "one slope does not describe it"
    many = found["1600 rjs ceiling"].paired
    assert many.low <= 0 <= many.high
    assert found["1600 rjs ceiling score"].paired.high < 0
    assert found["1600 rjs actor"].paired.low > 0
    assert found["rjs trainings"].paired.low > 0  # "in the mean over three trainings it does"
    assert found["rjs targets"].paired.p > LEVEL  # "do not decide it with fewer seeds"
    assert found["1600 rjs slope"].paired.difference < found["400 rjs slope"].paired.difference
    head, *lines = [line.split(" | ") for line in contrast_table(ALIGNMENTS, [0.1, 2.0]).splitlines()]
    corrected = [float(cells[head.index("Holm")]) for cells in lines[1:]]
    assert len(corrected) == 14
    assert min(corrected) > LEVEL  # "after Holm none is decided", "undecided after Holm, all three"
    first = gain_table(ALIGNMENTS, [0.1, 2.0])
    gains = [line.split(" | ") for line in first.splitlines() if "RM" in line and "slope" not in line]
    assert len(gains) == 12
    assert all(
        cells[4].startswith("+") and float(cells[5]) <= LEVEL for cells in gains
    )  # "gains over random"


def test_words_on_the_spread() -> None:
    lines = [line.strip("| ").split(" | ") for line in spread_table(ALIGNMENTS, [0.1, 2.0]).splitlines()]
    by_method = {cells[1]: cells[2:] for cells in lines if cells[0] == "400"}
    many = next(cells[2:] for cells in lines if cells[0] == "1,600")
    for cells in (by_method["rjs"], many):  # "the RMs vary it at least as much as another order"
        assert float(cells[1]) >= float(cells[0])
    assert 0.4 < float(many[0]) / float(by_method["rjs"][0]) < 0.6  # "the alignment is about half"
    assert float(many[1]) > max(float(many[0]), float(many[2]))  # "the RM's part is the largest"
    assert int(many[-1]) > int(by_method["rjs"][-1])  # "do not decide it with fewer seeds"
    for method in ("dpo", "rrhf"):  # "most of it is the world": of the variance as it was played
        assert float(by_method[method][2]) ** 2 > 0.5 * float(by_method[method][3]) ** 2
