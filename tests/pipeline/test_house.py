"""What keeps the project simple: sizes, names, a test file for each module, pages that name real tests."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.import_closure import ROOT

MODULES = sorted(p for folder in ("apo", "stages", "study") for p in (ROOT / folder).rglob("*.py"))
PRIVATE_WORDS = set(
    re.findall(
        r"\w+",
        "anchors arena asking bins calibration_noise conduct counting disguise divergence drawing finish "
        "gathering joining lacking last_layer launch leaks machine measuring misfits packed parting phrases "
        "pieces raw reading recognise resume shares sides special states values writers zero",
    )
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# Test files that may be longer, and why.
LONG: dict[str, str] = {}
# Modules without a test file of their name, and the test that holds them.
TESTED_ELSEWHERE = {
    "apo/alignment/recipe.py": "tests/stages/test_align.py",
    "apo/core/errors.py": "tests/apo/core/test_stage.py",
    "apo/datasets/issues.py": "tests/apo/core/test_data_issues.py",
    "apo/datasets/labels.py": "tests/apo/datasets/test_verdicts.py",
    "apo/datasets/load.py": "tests/stages/test_data.py",
    "apo/datasets/parsed.py": "tests/apo/datasets/test_formats.py",
    "apo/export/__main__.py": "tests/apo/export/test_write.py",
    "apo/export/kinds.py": "tests/apo/export/test_write.py",
    "apo/inspection/__main__.py": "tests/apo/inspection/test_report.py",
    "apo/language/adopt.py": "tests/apo/training/test_model_card.py",
    "apo/model/template_tokens.py": "tests/apo/model/test_chat_template.py",
    "apo/training/deepspeed_engine.py": "tests/apo/training/test_engines.py",
    "apo/training/language_outputs.py": "tests/apo/training/test_model_card.py",
    "apo/training/outputs.py": "tests/apo/training/test_model_card.py",
    "apo/training/sharding.py": "tests/apo/training/test_engines.py",
    "stages/backbone.py": "tests/stages/test_actor.py",
    "stages/plots.py": "tests/pipeline/test_plots_shown.py",
    "stages/sample.py": "tests/apo/chunks/test_resumable_in_ranks.py",
    "stages/tables.py": "tests/pipeline/test_plots_shown.py",
    "stages/test_rm.py": "tests/apo/reward/test_recipe.py",
    "stages/train_apo_rm.py": "tests/pipeline/test_hermetic.py",
    "stages/train_base_rm.py": "tests/pipeline/test_hermetic.py",
    "study/golden_weight.py": "tests/study/test_report.py",
    "study/pipeline.py": "tests/study/test_main.py",
    "study/values.py": "tests/study/test_report.py",
}
LINES = {"dvc.yaml": 520, "params.yaml": 300, "README.md": 260, "dvc.lock": 2250}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_has_at_most_300_lines_and_its_functions_60(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno}
    assert {name: lines for name, lines in long.items() if lines > 60} == {}


def test_a_test_file_has_at_most_300_lines_or_a_reason() -> None:
    long = {
        p.relative_to(ROOT).as_posix() for p in TESTS if len(p.read_text(encoding="utf-8").splitlines()) > 300
    }
    assert long == LONG.keys()


def test_a_module_has_a_test_file_of_its_name_or_is_named_with_its_test() -> None:
    """`settings.py` of every package is tested with params.yaml, in tests/apo/core/test_config.py."""
    modules = {path.relative_to(ROOT).as_posix(): path for path in MODULES}
    missing = set()
    for name, path in modules.items():
        test = ROOT / "tests" / Path(name).with_name(f"test_{path.stem.strip('_')}.py")
        if path.name not in ("__init__.py", "settings.py") and not test.is_file():
            missing.add(name)
    assert missing == TESTED_ELSEWHERE.keys()
    assert all((ROOT / test).is_file() for test in TESTED_ELSEWHERE.values())


def test_a_page_names_tests_that_exist() -> None:
    """Every path under tests/ and every test function in a Markdown file; LOG.md tells of the past."""
    names = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    nodes = (node for path in TESTS for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    known = {node.name for node in nodes if isinstance(node, ast.FunctionDef)} | {path.stem for path in TESTS}
    for name in ("dvc.yaml", "params.yaml"):  # stages and parameters
        known |= set(re.findall(r"\w+", (ROOT / name).read_text(encoding="utf-8")))
    for name in set(names.split()) - {"LOG.md"}:
        text = (ROOT / name).read_text(encoding="utf-8")
        paths = re.findall(r"\btests/[a-z0-9_/]+(?:\.py)?", text)
        assert {path for path in paths if not (ROOT / path).exists()} == set(), name
        assert set(re.findall(r"\btest_[a-z0-9_]+", text)) <= known, name


def test_the_page_on_the_architecture_lists_every_module() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("## The files")[2]
    listed = set()
    for line in text.splitlines():
        if heading := re.fullmatch(r"\*\*`(.*)`\*\*", line):
            folder = heading[1]
        elif entry := re.match(r"- `(\w+\.py)`: .", line):
            listed.add(folder + entry[1])
    modules = {path.relative_to(ROOT) for path in MODULES if path.is_relative_to(ROOT / "apo")}
    assert listed == {p.as_posix() for p in modules if p.name not in ("__init__.py", "settings.py")}


@pytest.mark.parametrize("name", LINES)
def test_a_file_that_people_read_stays_short(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= LINES[name]


def test_no_module_has_a_private_word_for_a_name() -> None:
    modules = [path for path in MODULES if not path.is_relative_to(ROOT / "study")]
    names = {path.stem for path in modules} | {path.parent.name for path in modules}
    assert not names & PRIVATE_WORDS


def test_ruff_holds_the_names_of_python() -> None:
    assert '"N"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_no_file_names_how_it_was_made() -> None:
    """Paths of one machine, unfinished work, merge marks."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    marks = re.compile(r"^(<{7}|>{7}) |@@[A-Z]+@@|TODO|FIXME", re.MULTILINE)
    for name in names.split():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".toml") and path.name != "test_house.py":
            assert not marks.search(path.read_text(encoding="utf-8")), name
