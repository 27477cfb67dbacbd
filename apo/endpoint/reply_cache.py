"""A cache of replies by the content of the request, so that no request is sent twice.

The cache is in `.cache/SERVICE/` of the repository, outside the stage's outputs: a rerun, an experiment in
its own folder and a run after an interruption share it. Each file is written atomically.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from apo.core.cache import cache_folder
from apo.core.errors import UserError
from apo.endpoint.service import Service

Request = dict[str, Any]  # the JSON body of a chat completion


class Reply(NamedTuple):
    """A chat completion: its text, its finish reason, and the model name that the server reports."""

    text: str
    finish_reason: str | None
    served_by: str | None

    @property
    def is_truncated(self) -> bool:
        """Whether it reached `max_tokens` of the request."""
        return self.finish_reason == "length"


def request_key(request: Request) -> str:
    """The SHA-256 of a whole request: model, prompt and settings.

    >>> request_key({"model": "m", "temperature": 0.0}) == request_key({"temperature": 0.0, "model": "m"})
    True
    """
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class ReplyCache:
    """Replies in the files of a folder, named by `request_key`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, request: Request) -> Path:
        key = request_key(request)
        return self._folder / key[:2] / f"{key}.json"

    def get(self, request: Request) -> Reply | None:
        """The reply to exactly this request; None if it is absent or its file is damaged."""
        try:
            content = json.loads(self._path(request).read_bytes())
            reply = Reply(**content["reply"])
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return reply if content.get("request") == request and isinstance(reply.text, str) else None

    def put(self, request: Request, reply: Reply) -> None:
        """Stores a reply; of two processes that store the same request, either one wins.

        Raises:
            UserError: The disk has no room, or the folder can't be written.
        """
        path = self._path(request)
        temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_text(json.dumps({"request": request, "reply": reply._asdict()}) + "\n")
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                str(path),
                found=str(error.strerror or error),
                expected="room for a reply of the endpoint",
                do="free disk space; `dvc repro` then sends the missing requests only",
            ) from None


def repository_cache(service: Service) -> ReplyCache:
    """The cache of a service in the repository, also for an experiment that runs in another folder."""
    return ReplyCache(cache_folder(service.section))
