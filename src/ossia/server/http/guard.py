"""The outermost ASGI layer: checks, authenticates, limits and logs every request.

Knows the list of open paths, no other route and no content of bodies.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ossia.errors import RequestError, log_failure
from ossia.server.api.errors import (
    NO_RETRY,
    Forbidden,
    HttpError,
    TooMany,
    Unauthorized,
    Unavailable,
    as_http,
    is_expected,
)
from ossia.server.http.body_limits import BodyReader, replay_body
from ossia.server.http.drain import Drain
from ossia.server.http.headers import (
    AllowedHosts,
    RequestHead,
    body_length,
    check_content,
    check_names,
    check_size,
)
from ossia.server.http.quotas import ConcurrencyLimit, RateLimit, WrongKeys
from ossia.store.api_keys import SCOPES, Key, KeyRing

access = logging.getLogger("ossia.access")

_PLAIN_PATH = re.compile(r"(?!.*sk-)[A-Za-z0-9/._-]{1,100}")
_OURS = (b"x-request-id", b"x-content-type-options", b"server")
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([\x21-\x7e]{1,512})")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardOptions:
    """The operator's limits."""

    allowed_hosts: tuple[str, ...] = ()
    """Names accepted in the Host header besides loopback and the server's address."""
    open_paths: tuple[str, ...] = ("/health", "/health/live", "/health/ready")
    """Read-only paths that need no key and are served during shutdown."""
    admin_paths: tuple[str, ...] = ("/metrics", "/debug")
    """Paths, with all below, that need the scope `admin`; all others need `infer`."""
    requests_per_minute: int | None = 60
    """Generation requests of one key; None: unlimited, as for a local user without a key."""
    requests_at_once: int | None = 8
    """Concurrent requests of one key."""
    wrong_keys: int = 1000
    """Wrong keys from one address before it is blocked for a while."""
    wrong_keys_seconds: float = 600.0
    max_body_bytes: int = 8 << 20
    max_bodies_bytes: int = 256 << 20
    """Total size of bodies in progress."""
    body_seconds: float = 30.0
    max_url_bytes: int = 8 << 10
    max_header_bytes: int = 16 << 10
    max_headers: int = 100
    request_seconds: float = 1800.0
    """Longest duration of a response."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller, in `scope["state"]["caller"]`."""

    owner: str
    """Opaque id of the key; empty where no key is needed."""
    name: str
    scopes: frozenset[str]


LOCAL = Caller("", "local", frozenset(SCOPES))
"""The local user of a server without keys."""
ANYONE = Caller("", "anyone", frozenset())
"""The caller of an open path."""


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """A finished request, for log and metrics; contains no text of the caller's."""

    method: str
    endpoint: str
    """Path template of the route; `other` if none matched."""
    status: int
    seconds: float
    request_id: str
    caller: str
    """Name of the key."""


class Guard:
    """ASGI middleware around the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        options: GuardOptions,
        keys: KeyRing,
        drain: Drain,
        observe: Callable[[AnsweredRequest], None] | None = None,
    ) -> None:
        """Wrap an application.

        Args:
            app: receives only accepted requests, each body in one message.
            options: the limits.
            keys: the valid API keys.
            drain: says when to refuse new work; counts every request.
            observe: called with every finished request.

        Raises:
            RequestError: a name in `allowed_hosts` is invalid.
        """
        self._app = app
        self._options = options
        self._keys = keys
        self._drain = drain
        self._observe = observe
        try:
            self._allowed_hosts = AllowedHosts(options.allowed_hosts)
        except ValueError as error:
            raise RequestError(f"--allowed-host: {error}") from error
        self._wrong_keys = WrongKeys(options.wrong_keys, options.wrong_keys_seconds)
        self._rates = RateLimit(options.requests_per_minute)
        self._running = ConcurrencyLimit(options.requests_at_once)
        self._body_reader = BodyReader(
            max_bytes=options.max_body_bytes,
            max_total_bytes=options.max_bodies_bytes,
            seconds=options.body_seconds,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on or refuse it; see ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        began = time.monotonic()
        request_id = f"req_{secrets.token_hex(16)}"
        # Trailers must not change the head of a request after it was checked.
        scope = {**scope, "headers": list(scope["headers"])}
        state = scope["state"] = {**scope.get("state", {})}
        state.update(request_id=request_id, caller=ANYONE)
        answer = _Answer(send, request_id)
        try:
            await self._pass_on(scope, receive, answer)
        except asyncio.CancelledError:
            if not self._drain.last_call.is_set():
                raise  # not our timeout: the server is stopping
        except Exception as error:
            await self._fail(error, state.get("logged"), answer)
        finally:
            self._log(scope, answer.status, time.monotonic() - began)

    async def _pass_on(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        head, options = RequestHead.of(scope), self._options
        check_size(
            head,
            max_url_bytes=options.max_url_bytes,
            max_bytes=options.max_header_bytes,
            max_fields=options.max_headers,
        )
        check_names(head, self._allowed_hosts)
        length = body_length(head)
        if head.path in options.open_paths and head.method in ("GET", "HEAD"):
            await self._answer(scope, receive, answer, head, length)
            return
        if self._drain.begun:
            ending = Unavailable("the server is ending; try again soon", code="draining")
            ending.headers["connection"] = "close"
            raise ending
        caller = scope["state"]["caller"] = self._caller(head)
        self._check_scope(caller, head.path)
        with self._drain.work():
            if caller is LOCAL:
                await self._answer(scope, receive, answer, head, length)
            else:
                await self._answer_within_quota(scope, receive, answer, head, length)

    async def _answer_within_quota(
        self,
        scope: Scope,
        receive: Receive,
        answer: "_Answer",
        head: RequestHead,
        length: int | None,
    ) -> None:
        owner = scope["state"]["caller"].owner
        if head.method == "POST" and (wait := self._rates.wait(owner, time.monotonic())):
            raise TooMany(
                f"this key may ask {self._options.requests_per_minute} times a minute; "
                f"try again in {wait} s",
                retry_seconds=wait,
            )
        if not self._running.begin(owner):
            raise TooMany(
                f"this key has {self._options.requests_at_once} requests running, "
                "as many as it may; wait until one has ended"
            )
        try:
            await self._answer(scope, receive, answer, head, length)
        finally:
            self._running.end(owner)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        answer: "_Answer",
        head: RequestHead,
        length: int | None,
    ) -> None:
        check_content(head, length)
        body = await self._body_reader.read(receive, length)
        try:
            async with asyncio.timeout(self._options.request_seconds) as limit:
                await self._app(scope, replay_body(body, receive), answer)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"the answer took longer than {self._options.request_seconds:g} s"
            raise HttpError(503, "server_error", "timeout", message, headers=NO_RETRY) from None

    def _caller(self, head: RequestHead) -> Caller:
        if not self._keys.required:
            return LOCAL
        now = time.monotonic()
        if wait := self._wrong_keys.wait(head.client, now):
            refused = TooMany(
                f"too many wrong keys came from this address; try again in {wait} s",
                code="too_many_wrong_keys",
                retry_seconds=wait,
            )
            refused.headers.update(NO_RETRY)
            raise refused
        values = head.fields.get("authorization", ())
        match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
        if match is None:
            raise Unauthorized(
                "this server needs an API key; send one header: Authorization: Bearer KEY"
            )
        key = self._keys.find(match[1].encode())
        if key is None or key.expired(time.time()):
            self._wrong_keys.count(head.client, now)
            raise Unauthorized(_refusal(key))
        return Caller(key.owner, key.name, frozenset(key.scopes))

    def _check_scope(self, caller: Caller, path: str) -> None:
        inside = any(path == at or path.startswith(f"{at}/") for at in self._options.admin_paths)
        needed = "admin" if inside else "infer"
        if needed not in caller.scopes:
            raise Forbidden(
                f"this key lacks the scope {needed}; "
                f"an operator makes one that has it: ossia keys add NAME --scope {needed}",
                "missing_scope",
            )

    async def _fail(self, error: Exception, logged: object, answer: "_Answer") -> None:
        """Answer an exception; if the response has begun, close the connection instead."""
        shown = as_http(error)
        if not is_expected(error) and shown.status >= 500 and logged is not error:
            log_failure(error, answer.request_id)
        if not answer.begun:
            await answer.refuse(shown)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        endpoint = getattr(scope.get("route"), "path", "other")
        state, path = scope["state"], scope["path"]
        done = AnsweredRequest(
            scope["method"],
            endpoint,
            status,
            seconds,
            state["request_id"],
            state["caller"].name,
        )
        if self._observe is not None:
            self._observe(done)
        access.info(
            "%s %s %s %d %.1f ms caller=%s client=%s",
            done.request_id,
            done.method,
            path if _PLAIN_PATH.fullmatch(path) else f"({endpoint})",
            status,
            seconds * 1000,
            done.caller,
            (scope.get("client") or ("unix",))[0],
        )


class _Answer:
    """Sends a response with the headers common to all, and records its progress."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.begun = False
        self.status = 499
        """499, client disconnected, until a response starts."""
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = message["status"]
            ours = [
                (b"x-request-id", self.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
            passed = [each for each in message.get("headers", ()) if not _forbidden(each[0])]
            message = {**message, "headers": passed + ours}
        await self._send(message)

    async def refuse(self, error: HttpError) -> None:
        """Send an error response."""
        body = error.body()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
            **error.headers,
        }
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        start = {"type": "http.response.start", "status": error.status, "headers": encoded}
        await self(start)
        await self({"type": "http.response.body", "body": body})


def _forbidden(name: bytes) -> bool:
    """Whether only the guard may send this header: CORS permissions and the guard's own."""
    lower = name.lower()
    return lower.startswith(b"access-control-") or lower in _OURS


def _refusal(key: Key | None) -> str:
    if key is None:
        return "this API key is not known here; see the keys there are with: ossia keys list"
    return "this API key has expired; an operator makes a new one with: ossia keys add NAME"
