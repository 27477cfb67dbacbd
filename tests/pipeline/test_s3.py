"""A checkpoint shared through an S3 server and fetched elsewhere by its name and version."""

from collections.abc import Iterator
from pathlib import Path

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
    """A repository with a checkpoint and the artifacts of this one."""
    path = tmp_path / "repository"
    path.mkdir()
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (path / "params.yaml").write_text("rounds: [{id: r1, prev: r0}]\n")
    (path / "dvc.yaml").write_text("artifacts:" + text.split("\nartifacts:")[1].split("\nplots:")[0])
    git(path, "init", "-q")
    dvc(path, "init", "-q")
    return path


def publish(repository: Path, *, seed: int) -> dict[str, bytes]:
    """A new version of `rm-base`: a commit, its tag, and the checkpoint on the server; its files."""
    folder = tiny.backbone(repository / "models/rm_base", seed=seed)
    dvc(repository, "add", "-q", "models/rm_base")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", f"seed {seed}")
    assert "pushed" in dvc(repository, "push", **KEYS)
    who = {
        f"GIT_{role}_{key}": "test@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for key in ("NAME", "EMAIL")
    }
    done = run(["gto", "register", "rm-base"], repository, **who)  # it makes tags
    assert done.returncode == 0, done.stdout + done.stderr
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pushed_to_a_server_and_fetched_elsewhere(repository: Path, endpoint: str, tmp_path: Path) -> None:
    """A folder in the place of the server is what docs/elsewhere.md shows; test_elsewhere.py runs that."""
    dvc(repository, "remote", "add", "-d", "shared", "s3://models/apo")
    dvc(repository, "remote", "modify", "shared", "endpointurl", endpoint)
    first, second = publish(repository, seed=1), publish(repository, seed=2)
    assert second.keys() == first.keys() and second["model.safetensors"] != first["model.safetensors"]
    # Elsewhere: no repository at all, then a clone.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    get = ("artifacts", "get", str(repository), "rm-base")
    dvc(elsewhere, *get, "-o", "newest", **KEYS)
    dvc(elsewhere, *get, "--rev", "v0.0.1", "-o", "first", **KEYS)
    assert contents(elsewhere / "newest") == second
    assert contents(elsewhere / "first") == first
    git(tmp_path, "clone", "-q", str(repository), "clone")
    dvc(tmp_path / "clone", "pull", **KEYS)
    assert contents(tmp_path / "clone/models/rm_base") == second
