"""A checkpoint shared through an S3 server, registered, and fetched elsewhere by its name."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from tests.helpers import tiny_models as tiny
from tests.helpers.played_repo import dvc, git
from tests.helpers.small_repo import ROOT, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An S3 server on localhost, with an empty bucket `models`."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="models")
    client.close()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose stages wrote two checkpoints, with the artifacts of this one."""
    path = tmp_path / "repository"
    path.mkdir()
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (path / "params.yaml").write_text("rounds: [{id: r1, prev: r0}, {id: r2, prev: r1}]\n")
    (path / "dvc.yaml").write_text("artifacts:" + text.split("\nartifacts:")[1].split("\nplots:")[0])
    git(path, "init", "-q")
    dvc(path, "init", "-q")
    for seed, folder in enumerate(("rm_base", "rm_apo/r2")):
        tiny.backbone(path / "models" / folder, seed=seed)
        dvc(path, "add", "-q", f"models/{folder}")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "played")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".gitignore"}


def tag(where: Path, *arguments: str) -> str:
    """gto makes tags, for which git wants to know who does."""
    who = {
        f"GIT_{role}_{desc}": "test@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for desc in ("NAME", "EMAIL")
    }
    done = run(["gto", *arguments], where, **who)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_shared_registered_and_fetched_elsewhere(repository: Path, endpoint: str, tmp_path: Path) -> None:
    """A folder in the place of the server is what docs/elsewhere.md shows; test_elsewhere.py runs that."""
    dvc(repository, "remote", "add", "-d", "shared", "s3://models/apo")
    dvc(repository, "remote", "modify", "shared", "endpointurl", endpoint)
    assert "files pushed" in dvc(repository, "push", **KEYS)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a remote")
    # Version 1 of both; then another rm-base as version 2, of which the first stays in production.
    first, game = contents(repository / "models/rm_base"), contents(repository / "models/rm_apo/r2")
    tag(repository, "register", "rm-base", "--version", "v1.0.0")
    tag(repository, "register", "rm-apo", "--version", "v1.0.0")
    tag(repository, "assign", "rm-base", "--version", "v1.0.0", "--stage", "prod")
    dvc(repository, "remove", "models/rm_base.dvc", "--outs")
    tiny.backbone(repository / "models/rm_base", seed=7)
    second = contents(repository / "models/rm_base")
    assert second.keys() == first.keys() and second["model.safetensors"] != first["model.safetensors"]
    dvc(repository, "add", "-q", "models/rm_base")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "trained again")
    dvc(repository, "push", **KEYS)
    tag(repository, "register", "rm-base")
    assert "v1.0.1" in tag(repository, "show", "rm-base")
    # Elsewhere: no repository at all, then a clone.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for arguments, expected in (
        (("rm-base",), second),
        (("rm-base", "--rev", "v1.0.0"), first),
        (("rm-base", "--stage", "prod"), first),
        (("rm-apo",), game),
    ):
        dvc(elsewhere, "artifacts", "get", str(repository), *arguments, "-o", "fetched", "--force", **KEYS)
        assert contents(elsewhere / "fetched") == expected, arguments
        subprocess.run(["rm", "-r", "fetched"], cwd=elsewhere, check=True)
    git(tmp_path, "clone", "-q", str(repository), "clone")
    assert not (tmp_path / "clone" / "models" / "rm_base").exists()
    dvc(tmp_path / "clone", "pull", **KEYS)
    assert contents(tmp_path / "clone/models/rm_base") == second
    assert contents(tmp_path / "clone/models/rm_apo/r2") == game


def test_a_wrong_byte_in_the_remote_is_not_fetched(repository: Path, tmp_path: Path) -> None:
    """dvc compares what it fetched with the hash in the lock."""
    dvc(repository, "remote", "add", "-d", "shared", str(tmp_path / "shared"))
    dvc(repository, "remote", "modify", "shared", "verify", "true")
    dvc(repository, "push")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a remote")
    [weights] = [
        p
        for p in (tmp_path / "shared").rglob("*")
        if p.is_file() and _same(p, repository / "models/rm_base/model.safetensors")
    ]
    weights.chmod(0o644)
    content: Any = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    git(tmp_path, "clone", "-q", str(repository), "clone")
    done = run(["dvc", "pull"], tmp_path / "clone")
    assert done.returncode != 0
    assert not (tmp_path / "clone/models/rm_base/model.safetensors").exists()


def _same(first: Path, second: Path) -> bool:
    return first.read_bytes() == second.read_bytes()
