"""Sends a request to an OpenAI-compatible endpoint, with the `openai` package.

The package does the retries (exponential back-off, `Retry-After`) and the timeouts. docs/where.md lists the
environment variables; none of them changes what is computed.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import httpx2
import openai

from apo.core.environment import environment_int
from apo.core.errors import UserError
from apo.endpoint.reply_cache import Reply, Request
from apo.endpoint.service import Service

MAX_RETRIES = 12  # 54 to 72 seconds in all, so that a limit per minute is waited for
KEY_LENGTH = 12  # of a key that is replaced in replies too; a shorter one could be a word of an answer
SECRET_LENGTH = 8  # of a value in the address; a shorter one, such as a version, is no secret
CACHED = "finished replies are cached, and `dvc repro` sends the missing requests only"


class RefusedError(UserError):
    """The endpoint refuses one request, or its reply is of no use; others may go well."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint for chat completions.

    Args:
        url: The base address, without `/chat/completions` and without a query string.
        key: The API key, or an empty text.
        timeout: Seconds without a received byte.
        query: The query string of the address, which may contain a secret.
    """

    url: str
    key: str = field(repr=False)
    timeout: float
    service: Service
    query: Mapping[str, str] = field(default_factory=dict, repr=False)

    def redact(self, text: str) -> str:
        """A text of the endpoint without the API key, in case it was echoed, plain or escaped as in JSON."""
        for key in filter(None, (self.key, self.key.replace("/", "\\/"))):
            text = text.replace(key, "[key]")
        return text

    def _redact_query(self, text: str) -> str:
        """A text for a message without the longer values of the query string, plain or as in a URL."""
        for value in (value for value in self.query.values() if len(value) >= SECRET_LENGTH):
            for written in (value, quote(value, safe="")):
                text = text.replace(written, "[query]")
        return text

    def client(self) -> openai.AsyncOpenAI:
        """The client, to be closed by the caller. What the package's own variables name is not sent."""
        with _without_variables("OPENAI_"):
            return self._client()

    def _client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.key or "none",  # the package wants one; `complete` omits the header
            default_query=self.query,
            timeout=openai.Timeout(self.timeout, connect=min(10.0, self.timeout)),
            max_retries=MAX_RETRIES,
            http_client=openai.DefaultAsyncHttpxClient(
                follow_redirects=False, event_hooks={"response": [self._check_response]}
            ),
        )

    async def complete(self, client: openai.AsyncOpenAI, request: Request) -> Reply:
        """The reply to one request.

        Raises:
            UserError: The endpoint refuses the request, or all retries fail.
        """
        headers = {} if self.key else {"Authorization": openai.Omit()}
        create: Any = client.chat.completions.with_raw_response.create
        try:
            response = await create(
                model=request["model"],
                messages=request["messages"],
                extra_body={key: value for key, value in request.items() if key not in ("model", "messages")},
                extra_headers=headers,
            )
        except openai.APIStatusError as error:
            status, wait = error.status_code, error.response.headers.get("Retry-After")
            kind = RefusedError if status in (400, 422) else UserError
            problem = f"{self._describe(error.response)} to a request for model {request['model']!r}"
            problem += f", with Retry-After {wait!r:.40}" if wait else ""
            raise self._error(problem, error.request, self._remedy(status), kind) from None
        except openai.APITimeoutError as error:
            raise self._error(f"no reply within {self.timeout:g} s", error.request) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            problem = self._redact_query(self.redact(f"{type(cause).__name__}: {cause}"))
            if not isinstance(cause, httpx2.DecodingError):
                problem = f"no connection ({problem})"
            raise self._error(problem, error.request) from None
        return self._parse_reply(response.http_response.json())

    def _error(
        self,
        problem: str,
        request: httpx2.Request,
        remedy: str = "",
        kind: type[UserError] = UserError,
    ) -> UserError:
        retries = request.headers.get("x-stainless-retry-count", "0")
        return kind(
            f"{self.url}/chat/completions",
            found=f"{problem} after {retries} retries",
            expected="a chat completion",
            do=f"{remedy or self._remedy()}; {CACHED}",
        )

    def _remedy(self, status: int | None = None) -> str:
        section, url = self.service.section, self.service.variable("URL")
        if status is None or _is_transient(status):
            parallel = self.service.variable("PARALLEL")
            return f"check that the model is served and that {url} is right, or lower {parallel}"
        if status in (401, 403):
            return f"set {self.service.variable('KEY')} to a key that may use this model"
        if status == 404:
            return f"correct {url}, which usually ends in /v1, or {section}.model"
        if 300 <= status < 400:
            return f"set {url} to the final address; redirects are not followed"
        keys = ("model", "max_tokens", "temperature", "request")
        settings = ", ".join(f"{section}.{key}" for key in keys)
        return f"change what the message names: {settings} or the texts"

    async def _check_response(self, response: httpx2.Response) -> None:
        """Prints a failure that the package retries; makes it retry a malformed reply too."""
        await response.aread()
        if _is_transient(response.status_code):
            print(f"{self.service.section}: {self._describe(response)}", file=sys.stderr)
        elif response.status_code == 200:
            try:
                self._parse_reply(response.json())
            except (ValueError, LookupError, TypeError, AttributeError):
                problem = f"no chat completion ({self._describe(response)})"
                print(f"{self.service.section}: {problem}", file=sys.stderr)
                raise httpx2.DecodingError(problem, request=response.request) from None

    def _describe(self, response: httpx2.Response) -> str:
        """The status and the beginning of the text, as one printable line."""
        text = self._redact_query(self.redact(response.content.decode(errors="replace")))
        text = " ".join(text.split())
        printable = "".join(char if char.isprintable() else "?" for char in text[:300])
        return f"status {response.status_code} {printable!r}"

    def _parse_reply(self, completion: Any) -> Reply:
        """The first choice of a chat completion; other content raises one of four built-in exceptions."""
        choice = completion["choices"][0]
        text = choice["message"].get("content") or ""  # null if a model refuses or only thinks
        fields = (text, choice.get("finish_reason"), completion.get("model"))
        if not all(isinstance(value, str | None) for value in fields):
            raise TypeError("texts expected")
        "".join(filter(None, fields)).encode()  # half of a surrogate pair is a ValueError
        if len(self.key) < KEY_LENGTH:
            return Reply(*fields)
        return Reply(*(value and self.redact(value) for value in fields))


def endpoint_from_environment(service: Service) -> Endpoint:
    """The endpoint that the environment names for a service.

    Raises:
        UserError: A variable is missing or invalid.
    """
    url_name, key_name = service.variable("URL"), service.variable("KEY")
    url = os.environ.get(url_name, "")
    if not _is_http_url(url):
        raise UserError(
            url_name,
            found="an address that is not http or https, or has a user name" if url else "no address",
            expected=f"where {service.section}.model of params.yaml is served, for example http://localhost:8000/v1",
            do=f"export {url_name} and, for a secret, {key_name}, or {service.opt_out}",
        )
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    key = os.environ.get(key_name, "")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(
            key_name,
            found="white space or a character that is not ASCII",
            expected="an API key",
            do="check for a line break at its end",
        )
    return Endpoint(
        url=urlunsplit((parts.scheme, parts.netloc, path, "", "")),
        key=key,
        timeout=environment_int(service.variable("TIMEOUT"), 300),
        service=service,
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
    )


def _is_http_url(url: str) -> bool:
    try:
        parts = httpx2.URL(url)
        return parts.scheme in ("http", "https") and bool(parts.host) and not parts.userinfo
    except (ValueError, httpx2.InvalidURL):
        return False


@contextlib.contextmanager
def _without_variables(prefix: str) -> Iterator[None]:
    """Takes variables out of the environment: a key, headers and an organization of another service."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(prefix)}
    try:
        yield
    finally:
        os.environ.update(taken)


def _is_transient(status: int) -> bool:
    """Whether the package retries a request with this status."""
    return status in (408, 409, 429) or status >= 500
