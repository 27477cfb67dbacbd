"""Sends many requests to an endpoint, some at a time, through the reply cache."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from tqdm import tqdm

from apo.core.environment import environment_int
from apo.endpoint.client import Endpoint, RefusedError, endpoint_from_environment
from apo.endpoint.reply_cache import Reply, ReplyCache, Request, request_key
from apo.endpoint.service import Service

REFUSALS = 10  # so many, and no reply at all, end the stage: it is not the texts
GRACE_SECONDS = 30.0  # after a failed request, for the concurrent ones to finish
Check = Callable[[Request, Reply], None]  # raises a UserError for an unusable reply


def request_all(
    requests: Iterable[Request],
    cache: ReplyCache,
    service: Service,
    *,
    check: Check | None = None,
    refused: dict[str, RefusedError] | None = None,
) -> dict[str, Reply]:
    """The reply to every request by `request_key`, from the cache or from the endpoint.

    Each reply is cached as soon as it arrives. After a failed request no other is sent; those in progress
    have `GRACE_SECONDS` to finish.

    Args:
        check: Called for each reply before it is cached. Its `RefusedError` refuses the request.
        refused: Receives the error of each refused request, which then does not keep the others from being
            sent. It has no reply, and is sent again the next time. None: a refused request has failed.

    Raises:
        UserError: The endpoint is unreachable, a request has failed, or every request is refused.
    """
    request_by_key = {request_key(request): request for request in requests}
    replies = {key: reply for key, request in request_by_key.items() if (reply := cache.get(request))}
    missing = {key: request for key, request in request_by_key.items() if key not in replies}
    print(
        f"{service.section}: {len(replies)} replies are cached, {len(missing)} requests are sent",
        file=sys.stderr,
    )
    if missing:
        endpoint = endpoint_from_environment(service)
        parallel = environment_int(service.variable("PARALLEL"), 4)
        with _retries_logged(service):
            replies |= asyncio.run(
                _send_all(missing, cache, endpoint, parallel, check, refused, any_reply=bool(replies))
            )
    if refused and not replies:
        raise next(iter(refused.values()))
    return replies


async def _send_all(
    requests: Mapping[str, Request],
    cache: ReplyCache,
    endpoint: Endpoint,
    parallel: int,
    check: Check | None,
    refused: dict[str, RefusedError] | None,
    *,
    any_reply: bool,
) -> dict[str, Reply]:
    """Sends the requests; asyncio and not threads, since Ctrl-C does not wait for a task in progress."""
    unsent = list(requests.items())[::-1]
    replies: dict[str, Reply] = {}

    async def work() -> None:
        while unsent:
            key, request = unsent.pop()
            try:
                reply = await endpoint.complete(client, request)
                if check:
                    check(request, reply)
                cache.put(request, reply)
                replies[key] = reply
            except BaseException as error:
                if refused is None or not isinstance(error, RefusedError):
                    unsent.clear()
                    raise
                refused[key] = error
                if not any_reply and not replies and len(refused) >= REFUSALS:
                    unsent.clear()
                    raise
            progress.update()

    with tqdm(total=len(requests), desc=endpoint.service.section, unit="reply", disable=None) as progress:
        async with endpoint.client() as client:
            workers = [asyncio.create_task(work()) for _ in range(min(parallel, len(requests)))]
            finished, unfinished = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            if unfinished:
                await asyncio.wait(unfinished, timeout=GRACE_SECONDS)
            for worker in unfinished:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for worker in finished:
                worker.result()  # raises the exception of the first failed request
    return replies


@contextlib.contextmanager
def _retries_logged(service: Service) -> Iterator[None]:
    """Prints the log of the package, which has one line for each retry."""
    logger, handler = logging.getLogger("openai"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{service.section}: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
