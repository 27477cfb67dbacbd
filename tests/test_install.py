"""install.py, the locks and what the Makefile asks of a Python."""

import functools
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from install import CONSTRAINT, LAST_LINES, wanted

ROOT = Path(__file__).parents[1]
PROMISED = {"dvc", "torch", "transformers", "deepspeed", "datasets", "pyyaml", "sentencepiece", "pandas"}
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "linux on arm": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}
CUDA = re.compile(r"nvidia-.*|cuda-.*|triton")  # what torch asks for where it is not the CPU build


def pins(name: str) -> dict[str, str]:
    """Package and version of every line of a lock."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and line[0] != "#"]
    return {canonicalize_name(package): version for package, version in (line.split("==") for line in lines)}


def requirements(name: str) -> list[Requirement]:
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


@functools.cache
def asked_by(package: str) -> list[Requirement]:
    return [Requirement(line) for line in metadata.requires(package) or []]


def closure(roots: list[Requirement], environment: dict[str, str]) -> dict[str, list[Requirement]]:
    """Every package that these need on such a machine, with what is asked of it."""
    needed: dict[str, list[Requirement]] = {}
    seen: set[tuple[str, str]] = set()
    waiting = list(roots)
    while waiting:
        asked = waiting.pop()
        needed.setdefault(canonicalize_name(asked.name), []).append(asked)
        for extra in {"", *asked.extras}:
            if (asked.name, extra) in seen or CUDA.fullmatch(asked.name):
                continue
            seen.add((asked.name, extra))
            for further in asked_by(asked.name):
                if further.marker is None or further.marker.evaluate(environment | {"extra": extra}):
                    waiting.append(further)
    return {name: asked for name, asked in needed.items() if not CUDA.fullmatch(name)}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_locks_hold_all_that_is_needed_and_nothing_else(python: str, system: str) -> None:
    environment = {key: str(value) for key, value in default_environment().items()}
    environment |= SYSTEMS[system] | {"python_version": python, "python_full_version": f"{python}.1"}
    game, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    roots = requirements("requirements.txt")
    for needed, lock in (
        (closure(roots, environment), game),
        (closure(roots + requirements("requirements-dev.txt"), environment), game | dev),
    ):
        assert set(needed) - set(lock) == set(), "not in a lock"
        assert set(lock) - set(needed) == set(), "nothing needs it"
        for name, asked in needed.items():
            for each in asked:
                assert each.specifier.contains(lock[name], prereleases=True), f"{each}, locked {lock[name]}"
    assert not set(game) & set(dev)


def test_what_is_installed_is_what_is_locked() -> None:
    for name, version in (pins("requirements.lock") | pins("requirements-dev.lock")).items():
        assert metadata.version(name).split("+")[0] == version, name


def test_the_promised_packages_are_named() -> None:
    assert {requirement.name for requirement in requirements("requirements.txt")} >= PROMISED


@pytest.mark.parametrize("version", ["3.10.13", "3.15.0"])
def test_another_python_is_refused_with_the_ones_that_can(tmp_path: Path, version: str) -> None:
    other = tmp_path / "python"
    major, minor, _ = version.split(".")
    other.write_text(f"""#!/bin/sh
if [ "$1" = --version ]; then echo Python {version}; else
exec {sys.executable} -c "import sys; sys.version_info = ({major}, {minor}, 0, 'final', 0); $2"; fi
""")
    other.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    done = subprocess.run(
        ["make", "setup", f"PYTHON={other}"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode
    assert f"error: {other}: found Python {version}, expected Python 3.11 to 3.14" in done.stderr
    assert not (tmp_path / ".venv").exists()


def wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    """A package of one line, as a file that pip finds."""
    folder.mkdir(exist_ok=True)
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        file.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")


def install(folder: Path, lock: str = "requirements.lock") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder / "wheels")}
    command = [sys.executable, str(ROOT / "install.py"), lock]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_install_is_done_when_all_of_it_is(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "inner", "1.0")
    wheel(tmp_path / "wheels", "cuda_of_torch", "1.0")
    wheel(tmp_path / "wheels", "torch", "2.0", "Requires-Dist: inner\nRequires-Dist: cuda_of_torch\n")
    lock, mark = tmp_path / "requirements.lock", tmp_path / ".venv" / "installed"
    packages = tmp_path / f".venv/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    lock.write_text("# a lock\ninner==1.0\nof_nobody==1.0\ntorch==2.0\n")

    failed = install(tmp_path)
    assert failed.returncode == 1 and not mark.exists()
    assert "of_nobody==1.0" in failed.stderr and "error: .venv: the step '2 packages' failed" in failed.stderr
    assert failed.stderr.count("\n") <= LAST_LINES + 5

    lock.write_text("# a lock\ninner==1.0\ntorch==2.0\n")
    done = install(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (packages / "cuda_of_torch.py").is_file()  # which no lock names, and torch asks for
    assert "  1 packages: " in done.stderr and mark.is_file()
    assert install(tmp_path).stderr == ""

    mark.write_text("")  # as if it had been ended there
    (packages / "left.py").touch()
    assert install(tmp_path).returncode == 0
    assert not (packages / "left.py").exists()

    extra = tmp_path / "requirements-dev.lock"
    wheel(tmp_path / "wheels", "outer", "1.0", "Requires-Dist: inner>=2\n")
    extra.write_text("outer==1.0\n")
    failed = install(tmp_path, extra.name)
    assert failed.returncode == 1 and "outer 1.0 has requirement inner>=2" in failed.stderr
    assert mark.is_file() and not (tmp_path / ".venv" / "installed-dev").exists()


def test_the_environment_of_another_checkout_is_not_emptied_through_a_link(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    (theirs / ".venv").mkdir(parents=True)
    mark = theirs / ".venv" / "installed"
    mark.write_text(f"Python {sys.version}\n{theirs / '.venv'}\n")
    ours.mkdir()
    (ours / ".venv").symlink_to(theirs / ".venv")
    (ours / "requirements.lock").write_text("a==1\n")
    refused = install(ours)
    assert refused.returncode == 1 and mark.is_file()
    assert f"found a link to the environment of {theirs / '.venv'}" in refused.stderr
    assert "remove the link" in refused.stderr and "Traceback" not in refused.stderr


def test_another_lock_or_python_is_another_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "requirements.lock").write_text("a==1\n")
    (tmp_path / "requirements-dev.lock").write_text("b==1\n")
    base, dev = wanted(Path("requirements.lock")), wanted(Path("requirements-dev.lock"))
    assert base != dev
    (tmp_path / "requirements.lock").write_text("a==2\n")
    assert wanted(Path("requirements.lock")) != base and wanted(Path("requirements-dev.lock")) != dev
    (tmp_path / "requirements.lock").write_text("a==1\n")
    monkeypatch.setattr(sys, "version", "3.12.1 (another)")
    assert wanted(Path("requirements.lock")) != base


def test_pip_takes_the_constraint_in_a_folder_with_a_space(tmp_path: Path) -> None:
    """It splits what it reads from its environment at white space."""
    folder = tmp_path / "My Projects"
    folder.mkdir()
    (folder / "builder").write_text("setuptools==1.0\n")
    assert Path(".venv/builder").absolute().as_uri() == CONSTRAINT
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", "-q", "pip"]
    for constraint, works in (((folder / "builder").as_uri(), True), (str(folder / "builder"), False)):
        done = subprocess.run(command, env=os.environ | {"PIP_CONSTRAINT": constraint}, capture_output=True)
        assert (done.returncode == 0) == works
