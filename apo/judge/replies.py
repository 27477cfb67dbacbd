"""Answers of an endpoint, kept by the content of the question, so that none is asked for twice.

They lie outside the outputs, in `.cache/judge/` of the repository: another run, an experiment in its own
folder and a run after a kill find them. A file appears whole or not at all.
"""

import contextlib
import hashlib
import json
import os
import queue
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from apo.core.errors import UserError
from apo.judge.endpoint import Body, Endpoint, Reply, Stopped, endpoint_of_environment, parallel


def key_of(body: Body) -> str:
    """A hash of a whole request: model, prompt and settings.

    >>> key_of({"model": "m", "temperature": 0.0}) == key_of({"temperature": 0.0, "model": "m"})
    True
    """
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class ReplyCache:
    """Replies in files of a folder, named by `key_of` their request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, body: Body) -> Path:
        key = key_of(body)
        return self._folder / key[:2] / f"{key}.json"

    def get(self, body: Body) -> Reply | None:
        """The reply to exactly this request; None where there is none that can be read."""
        try:
            content = json.loads(self._path(body).read_bytes())
            reply = Reply(**content["reply"])
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return reply if content.get("request") == body and isinstance(reply.text, str) else None

    def put(self, body: Body, reply: Reply) -> None:
        """Keeps a reply; of two writers at once either one's is kept.

        Raises:
            UserError: There is no room.
        """
        path = self._path(body)
        temporary = path.with_name(f"{path.stem}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_text(json.dumps({"request": body, "reply": reply._asdict()}) + "\n")
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                str(path),
                found=str(error.strerror or error),
                expected="room for an answer of the judge",
                do="make room; `dvc repro` then asks for what is missing",
            ) from None


def repository_cache() -> ReplyCache:
    """The cache of the repository, also for an experiment that runs in another folder."""
    return ReplyCache(Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / "judge")


def ask_all(bodies: Iterable[Body], cache: ReplyCache) -> dict[str, Reply]:
    """The reply to every request, by `key_of` it: from the cache, or asked for, several at a time.

    Each reply is kept as soon as it is there. With the first request that fails no other is begun; those
    under way end and are kept.

    Raises:
        UserError: The endpoint is away, or refuses a request.
    """
    import requests  # noqa: F401 - so that the provenance names it, whatever the cache holds

    wanted = {key_of(body): body for body in bodies}
    found = {key: reply for key, body in wanted.items() if (reply := cache.get(body))}
    missing = {key: body for key, body in wanted.items() if key not in found}
    print(f"judge: {len(found)} answers are there, {len(missing)} are asked for", file=sys.stderr)
    return found | _asked(missing, cache) if missing else found


def _asked(missing: Mapping[str, Body], cache: ReplyCache) -> dict[str, Reply]:
    from tqdm import tqdm

    endpoint, stop = endpoint_of_environment(), threading.Event()
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, Reply | UserError | None]] = queue.SimpleQueue()
    for key in missing:
        jobs.put(key)

    def work() -> None:
        with endpoint.session() as session, contextlib.suppress(queue.Empty, Stopped):
            while not stop.is_set():
                key = jobs.get_nowait()
                outcome: Reply | UserError | None = None  # None: a defect, whose traceback is printed
                try:
                    outcome = _ask_and_keep(endpoint, session, missing[key], stop, cache)
                except UserError as error:
                    outcome = error
                finally:
                    done.put((key, outcome))

    # They end with the process: Ctrl-C does not wait for an answer that is under way.
    workers = range(min(parallel(), len(missing)))
    threads = [threading.Thread(target=work, name="judge", daemon=True) for _ in workers]
    for thread in threads:
        thread.start()
    replies: dict[str, Reply] = {}
    with tqdm(total=len(missing), desc="judge", unit="answer", disable=None) as progress:
        while len(replies) < len(missing):
            key, outcome = done.get()
            if not isinstance(outcome, Reply):
                stop.set()
                for thread in threads:
                    thread.join()
                raise outcome or RuntimeError("a thread that asks the judge ended")
            replies[key] = outcome
            progress.update()
    for thread in threads:
        thread.join()
    return replies


def _ask_and_keep(
    endpoint: Endpoint, session: object, body: Body, stop: threading.Event, cache: ReplyCache
) -> Reply:
    reply = endpoint.ask(session, body, stop)
    cache.put(body, reply)
    return reply
