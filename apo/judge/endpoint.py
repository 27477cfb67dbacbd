"""A chat-completions endpoint of OpenAI's form: asked, asked again after a failure, ended in one clear line.

Where it is comes from the environment, and none of it changes what is computed:

APO_JUDGE_URL       its address up to `/chat/completions`, for example http://localhost:8000/v1
APO_JUDGE_KEY       its key, where it wants one; it is shown and written nowhere
APO_JUDGE_PARALLEL  requests under way at a time, 4 by default
APO_JUDGE_TIMEOUT   seconds without a byte of an answer after which it is asked again, 300 by default
"""

import email.utils
import os
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from apo.core.errors import UserError

Body = dict[str, Any]
TRIES = 6
FIRST_WAIT = 1.0  # seconds; each further wait is twice as long
LONGEST_WAIT = 120.0  # seconds; an endpoint that asks for more is taken for away
PASSING = frozenset({408, 409, 425, 429, *range(500, 600)})  # what may be gone at the next try
KEPT = "the answers so far are kept, `dvc repro` then asks for the rest alone"


class Reply(NamedTuple):
    """What an endpoint answered: the text, why it ended, the name that the model gives itself."""

    text: str
    finish_reason: str | None
    served_by: str | None


class Stopped(Exception):
    """The run ends for another reason while this request waits for its next try."""


class _Failed(Exception):
    """A try that may do better the next time, after so many seconds where the endpoint names them."""

    def __init__(self, found: str, after: float | None = None) -> None:
        super().__init__(found)
        self.found, self.after = found, after


@dataclass(frozen=True)
class Endpoint:
    """Where answers come from. `url` is the whole address of the chat completions."""

    url: str
    key: str = field(repr=False)
    timeout: float

    @property
    def shown(self) -> str:
        """The address without what may be secret in it: user, password, query."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def without_key(self, text: str) -> str:
        """A text of the endpoint, which may have sent the key back, as it is or as JSON writes it."""
        for key in filter(None, (self.key, self.key.replace("/", "\\/"))):
            text = text.replace(key, "[key]")
        return text

    def ask(self, session: Any, body: Body, stop: threading.Event) -> Reply:
        """The answer to one request.

        Args:
            session: A `requests.Session` of this thread.
            body: What is sent, as JSON.
            stop: Ends the waiting for the next try.

        Raises:
            UserError: The endpoint refuses the request, or no try brought an answer.
            Stopped: `stop` was set.
        """
        for attempt in range(1, TRIES + 1):
            try:
                return self._once(session, body)
            except _Failed as failure:
                wait = FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
                wait = wait if failure.after is None else failure.after
                if attempt == TRIES or wait > LONGEST_WAIT:
                    raise self._gone(failure, attempt) from None
                print(f"judge: {failure.found}; asks again in {wait:.1f} s", file=sys.stderr)
                if stop.wait(wait):
                    raise Stopped from None
        raise AssertionError("the last try returns or raises")

    def _gone(self, failure: _Failed, tries: int) -> UserError:
        asked = "" if failure.after is None else f", which asks to wait {failure.after:.0f} s"
        return UserError(
            self.shown,
            found=f"{failure.found} at try {tries} of {TRIES}{asked}",
            expected="an answer of the judge",
            do=f"see that it runs and APO_JUDGE_URL is right, or lower APO_JUDGE_PARALLEL; {KEPT}",
        )

    def _once(self, session: Any, body: Body) -> Reply:
        import requests

        try:
            answer = session.post(
                self.url, json=body, timeout=(min(10.0, self.timeout), self.timeout), allow_redirects=False
            )
        except requests.Timeout:
            raise _Failed(f"no answer within {self.timeout:g} s") from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            raise _Failed("no connection, or one that broke") from None
        except requests.exceptions.ContentDecodingError:
            raise _Failed("an answer that can't be decoded") from None
        except requests.RequestException as error:
            raise UserError(
                self.shown,
                found=f"an address that can't be asked ({type(error).__name__})",
                expected="an address such as http://localhost:8000/v1",
                do="correct APO_JUDGE_URL",
            ) from None
        if answer.status_code in PASSING:
            raise _Failed(self._said(answer), _seconds(answer.headers.get("Retry-After")))
        if answer.status_code != 200:
            raise UserError(
                self.shown,
                found=f"{self._said(answer)} to a request for model {body['model']!r}",
                expected="status 200",
                do=f"{_remedy(answer.status_code)}; {KEPT}",
            )
        try:
            return self._reply(answer.json())
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _Failed(f"no chat completion ({self._said(answer)})") from None

    def _said(self, answer: Any) -> str:
        """Status and the beginning of the text, as a line that a terminal can show."""
        text = " ".join(self.without_key(answer.content.decode(errors="replace")).split())
        shown = "".join(char if char.isprintable() else "?" for char in text[:300])
        return f"status {answer.status_code} {shown!r}"

    def _reply(self, content: Any) -> Reply:
        """The first choice of a completion.

        Raises:
            ValueError, LookupError, TypeError, AttributeError: It is none.
        """
        choice = content["choices"][0]
        text = choice["message"].get("content") or ""  # null where a model refuses or only thinks
        found = (text, choice.get("finish_reason"), content.get("model"))
        if not all(isinstance(value, str | None) for value in found):
            raise TypeError("texts expected")
        "".join(filter(None, found)).encode()  # half of a surrogate pair is a ValueError
        return Reply(*(value and self.without_key(value) for value in found))

    def session(self) -> Any:
        """A connection that is kept, for one thread; it sends the key, and nothing of a .netrc file."""
        import requests

        session = requests.Session()
        key = self.key

        def add_key(request: Any) -> Any:
            if key:
                request.headers["Authorization"] = f"Bearer {key}"
            return request

        session.auth = add_key
        return session


def endpoint_of_environment() -> Endpoint:
    """The endpoint that the environment names.

    Raises:
        UserError: It names none, or in a way that can't be used.
    """
    url = os.environ.get("APO_JUDGE_URL", "")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            "APO_JUDGE_URL",
            found="an address that is not http or https" if url else "no address",
            expected="where judge.model of params.yaml is served, for example http://localhost:8000/v1",
            do="export APO_JUDGE_URL, or write judge.model: '' for no judge",
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    key = os.environ.get("APO_JUDGE_KEY", "")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(
            "APO_JUDGE_KEY",
            found="white space or a character that is not ASCII",
            expected="a key",
            do="look for a line end that came with it",
        )
    timeout = whole_number("APO_JUDGE_TIMEOUT", 300)
    return Endpoint(url=urlunsplit(parts._replace(path=path)), key=key, timeout=timeout)


def parallel() -> int:
    """Requests under way at a time."""
    return whole_number("APO_JUDGE_PARALLEL", 4)


def whole_number(name: str, default: int) -> int:
    """A whole number of at least 1 from the environment."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise UserError(name, found=repr(text), expected="a whole number of at least 1", do="unset it")
    return int(text)


def _seconds(header: str | None) -> float | None:
    """Retry-After as seconds from now; it is a number or a date. None where it is neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "set APO_JUDGE_KEY to a key that may use this model"
    if status == 404:
        return "correct APO_JUDGE_URL (it mostly ends in /v1) or judge.model"
    if 300 <= status < 400:
        return "set APO_JUDGE_URL to the address itself; it is not followed elsewhere"
    return "change what the message names: judge.model, judge.max_tokens, judge.temperature, longer texts"
