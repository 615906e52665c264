"""Logs over HTTP in, findings out: the service that `logmoe serve` runs.

One pipeline is loaded once, and judges one log at a time; other requests wait. What clients send is never held in
memory as a whole, and nothing that they name is ever opened: an upload lies on disk, under a name of ours, until it is
answered. Needs the libraries of the extra `logmoe[serve]`.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import os
import re
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response, Security
from fastapi import Path as PathParameter
from fastapi.responses import RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from logmoe import LogAnomalyPipeline, LogReference, __version__
from logmoe.caching_logmoe import ScanCache
from logmoe.reporting import renamed, render, require

Answer = TypeVar("Answer")

CONTENT_TYPES = {
    "text": "text/plain",
    "html": "text/html",
    "jsonl": "application/x-ndjson",
    "sarif": "application/sarif+json",
    "junit": "application/xml",
    "markdown": "text/markdown",
}
# What `reference` may say in place of a name: as the modes of the results are called.
MODES = ("self", "none")
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
# Bytes of an upload that wait in memory to be written.
BUFFER_BYTES = 1 << 18
# Seconds between two looks at whether a client still waits.
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Limits:
    """What is asked of one machine at most.

    Attributes:
        upload_bytes: size of a log, as it is sent.
        stored_bytes: of all uploads that wait on disk.
        seconds: for sending a log, and again for waiting and being judged.
        requests: that are received, wait or are judged at once.
        references: that are kept.
    """

    upload_bytes: int = 256 << 20
    stored_bytes: int = 2 << 30
    seconds: float = 300.0
    requests: int = 512
    references: int = 16


@dataclass(frozen=True)
class KeptReference:
    """A healthy log that requests can name."""

    reference: LogReference
    since: datetime


@dataclass
class Upload:
    """A log that was sent: where it lies, and how many bytes of it."""

    path: Path
    stored_bytes: int = 0


class Uploads:
    """The uploads that lie on disk.

    Args:
        folder: where; nobody else writes there.
    """

    def __init__(self, folder: Path, limits: Limits):
        self.folder, self.limits = folder, limits
        self.requests = self.stored_bytes = 0

    @contextlib.asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Path]:
        """The body of a request as a file, for as long as the context is open.

        Raises:
            HTTPException: it is too large, too slow, or a form; or there is no room for it.
        """
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise HTTPException(415, "send the log as the body itself, not as a form: curl -X POST -T LOG URL")
        if self.requests >= self.limits.requests:
            raise _busy(f"{self.requests} requests are waiting already")
        upload = Upload(self.folder / secrets.token_hex(16))
        self.requests += 1
        try:
            await self._receive(request, upload)
            yield upload.path
        finally:
            self.requests -= 1
            self.stored_bytes -= upload.stored_bytes
            discard(upload.path)

    async def _receive(self, request: Request, upload: Upload) -> None:
        try:
            async with asyncio.timeout(self.limits.seconds):
                await self._write(request, upload)
        except TimeoutError:
            raise HTTPException(408, f"the log did not arrive within {self.limits.seconds:g} seconds") from None
        except ClientDisconnect:
            raise _gone() from None
        except OSError as error:
            raise HTTPException(507, f"the log cannot be stored: {error.strerror}") from error

    async def _write(self, request: Request, upload: Upload) -> None:
        most = self.limits.upload_bytes
        too_large = HTTPException(413, f"the log is larger than {most:,} bytes, the most that is taken")
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > most and request.headers.get("expect"):
            raise too_large  # before any of it is sent
        received, waiting = 0, bytearray()
        with open(upload.path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            async for chunk in request.stream():
                received += len(chunk)
                if received > 2 * most:
                    break
                if received > most:
                    continue  # many clients read the answer only when they have sent everything
                if self.stored_bytes + len(chunk) > self.limits.stored_bytes:
                    raise _busy("the logs that wait fill the room there is for them")
                self.stored_bytes += len(chunk)
                upload.stored_bytes += len(chunk)
                waiting += chunk
                if len(waiting) >= BUFFER_BYTES:
                    await asyncio.to_thread(file.write, waiting)
                    waiting = bytearray()
            await asyncio.to_thread(file.write, waiting)
        if received > most:
            raise too_large


def discard(path: Path) -> None:
    """Deletes an upload. Whoever still reads it finds its end, so that work that was given up ends soon."""
    with contextlib.suppress(FileNotFoundError):
        os.truncate(path, 0)
        path.unlink()


def _gone() -> HTTPException:
    return HTTPException(499, "the client has gone")  # which nobody reads


def _busy(why: str) -> HTTPException:
    return HTTPException(503, f"{why}; try again later", headers={"Retry-After": "10"})


class Service:
    """Judges what was uploaded.

    Args:
        pipe: the one pipeline; it judges one log at a time.
        references: known from the beginning, by name; not bounded, and clients cannot replace them.

    Raises:
        ValueError: a reference has a name that cannot be asked for.
    """

    def __init__(
        self, pipe: LogAnomalyPipeline, limits: Limits = Limits(), references: Mapping[str, LogReference] | None = None
    ):
        self.pipe, self.limits = pipe, limits
        self.fixed = frozenset(references or ())
        for name in self.fixed:
            check_name(name)
        now = datetime.now(UTC)
        self.references = {name: KeptReference(reference, now) for name, reference in (references or {}).items()}
        self._cache = ScanCache()  # the logs of a service say the same things from day to day
        self._folder = tempfile.TemporaryDirectory(prefix="logmoe-serve-", ignore_cleanup_errors=True)
        self.uploads = Uploads(Path(self._folder.name), limits)
        # One log at a time: threads may share a pipeline, but two logs would want the memory of two.
        self._judging = ThreadPoolExecutor(1, "logmoe-serve")

    def close(self) -> None:
        """Ends what is going on."""
        for path in self.uploads.folder.iterdir():
            discard(path)
        self._judging.shutdown(wait=True, cancel_futures=True)
        self._folder.cleanup()

    async def in_turn(self, request: Request, work: Callable[[], Answer]) -> Answer:
        """Does work when its turn comes.

        Raises:
            HTTPException: it takes too long, or nobody waits for it any more.
        """
        ends = time.monotonic() + self.limits.seconds
        waiter = asyncio.wrap_future(self._judging.submit(work))
        try:
            while not (await asyncio.wait({waiter}, timeout=min(POLL_SECONDS, max(0, ends - time.monotonic()))))[0]:
                if time.monotonic() >= ends:
                    raise HTTPException(
                        504,
                        f"no answer within {self.limits.seconds:g} seconds, the most that a request may take: send a "
                        "shorter log, or try again when fewer requests wait",
                    )
                if await request.is_disconnected():
                    raise _gone()
            return waiter.result()
        finally:
            waiter.cancel()

    def judge(self, path: Path, asked: "FindingsQuery", reference: LogReference | str | bool | None) -> str:
        """The findings of an upload, as a report.

        Raises:
            ValueError: it holds no log, or an argument is out of range.
        """
        found = self.pipe.findings(
            path,
            order=asked.by,
            encoding=asked.encoding,
            reference=reference,
            threshold=asked.threshold,
            false_alarm_rate=asked.false_alarm_rate,
            cache=self._cache,
        )
        baseline = asked.reference if isinstance(reference, LogReference) else None
        return render(renamed(found, path, asked.name, baseline), asked.format, asked.limit, asked.encoding)

    def against(self, asked: str | None) -> LogReference | str | bool | None:
        """What a call of the pipeline takes as its `reference`.

        Raises:
            HTTPException: there is no such reference.
        """
        if asked is None:  # what is stored with the checkpoint, or else the log itself
            return None
        if asked in MODES:
            return asked if asked == "self" else False
        return self.kept(asked).reference

    def keep(self, name: str, reference: LogReference) -> KeptReference:
        """Keeps a reference, in place of the one that had its name.

        Raises:
            HTTPException: there is no room for one more.
        """
        self.check_room(name)
        self.references[name] = kept = KeptReference(reference, datetime.now(UTC))
        return kept

    def check_room(self, name: str) -> None:
        """
        Raises:
            HTTPException: no reference of this name may be kept.
        """
        if name in MODES:
            raise HTTPException(422, f"{name!r} is no name for a reference: it stands for a way of judging")
        if name in self.fixed:
            raise HTTPException(409, f"the reference {name!r} is the service's own: take another name")
        if name not in self.references and len(self.references) - len(self.fixed) >= self.limits.references:
            raise HTTPException(
                409, f"{self.limits.references} references are kept, and no more: delete one, or replace it"
            )

    def kept(self, name: str) -> KeptReference:
        """
        Raises:
            HTTPException: there is no such reference.
        """
        found = self.references.get(name)
        if found is None:
            raise HTTPException(404, f"there is no reference {name!r}: POST /references?name={name} makes one")
        return found


def check_name(name: str) -> None:
    """
    Raises:
        ValueError: a reference cannot be called so.
    """
    if not re.fullmatch(NAME, name) or name in MODES:
        raise ValueError(
            f"a reference cannot be called {name!r}: up to 64 letters, digits and . _ -, and neither {MODES[0]} nor "
            f"{MODES[1]}"
        )


# ---------------------------------------------------------------------- what can be asked


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FindingsQuery(_Asked):
    """How a log is judged, and what the answer looks like."""

    reference: Annotated[
        str | None,
        Field(
            max_length=64,
            description="What it is judged against: the name of a reference; `self`, the log itself, or its wording "
            "where it is short; `none`, its wording alone. By default the reference that is stored with the "
            "checkpoint; without one, `self`.",
        ),
    ] = None
    format: Annotated[
        Literal["jsonl", "text", "html", "sarif", "junit", "markdown"],
        Field(description="Of the answer. `jsonl` is one record per finding, and one with the summary."),
    ] = "jsonl"
    by: Annotated[Literal["strength", "time"], Field(description="Order of the findings.")] = "strength"
    limit: Annotated[
        int, Field(ge=1, description="Findings in an answer for people (`text`, `markdown`), at most.")
    ] = 20
    name: Annotated[str, Field(min_length=1, max_length=200, description="What the answer calls the log.")] = "upload"
    encoding: Annotated[
        str | None, Field(max_length=40, description="Of the log; by default UTF-8, or UTF-16 if it is.")
    ] = None
    threshold: Annotated[
        float | None, Field(gt=0, lt=1, description="Smallest probability of an anomaly to report.")
    ] = None
    false_alarm_rate: Annotated[
        float | None,
        Field(gt=0, lt=1, description="Share of healthy sequences that may be called anomalous; needs a reference."),
    ] = None


class ReferenceQuery(_Asked):
    """What a reference is called, and how its log is read."""

    name: Annotated[str, Field(pattern=NAME, description="A reference of this name is replaced.")]
    encoding: Annotated[
        str | None, Field(max_length=40, description="Of the log; by default UTF-8, or UTF-16 if it is.")
    ] = None


class ReferenceFacts(BaseModel):
    """A healthy log that requests can name."""

    name: str
    entries: int = Field(description="In the healthy log.")
    texts: int = Field(description="Distinct masked ones that are kept.")
    since: datetime = Field(description="When it was made.")


class Health(BaseModel):
    """That the service is up."""

    status: str
    version: str
    requests: int = Field(description="That are received, wait or are judged.")


_LOG_BODY = {
    "requestBody": {
        "required": True,
        "description": "The log, as it is or compressed (gzip, bzip2, xz, zstd).",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": text}
    for code, text in {
        400: "This is no log, or cannot be judged so.",
        401: "The bearer token is missing or wrong.",
        408: "The log did not arrive in time.",
        413: "The log is too large.",
        503: "Too many requests are waiting.",
        504: "It takes too long.",
    }.items()
}


# ---------------------------------------------------------------------- the service


def create_app(service: Service, token: str | None = None, is_open: bool = False) -> FastAPI:
    """The service over HTTP.

    Args:
        service: is closed with the app.
        token: that clients must show; None for none.
        is_open: other machines may ask although there is no token.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    def is_allowed(
        request: Request,
        shown: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
    ) -> None:
        if token is None:
            check_neighbour(request, is_open)
        elif shown is None or not hmac.compare_digest(shown.credentials.encode(), token.encode()):
            problem = "needs a bearer token" if shown is None else "the bearer token is wrong"
            raise HTTPException(401, problem, headers={"WWW-Authenticate": "Bearer"})

    app = FastAPIOffline(
        title="LogMoE",
        version=__version__,
        description="Finds what is wrong in logs: since when, which lines, and why.",
        lifespan=lifespan,
        redoc_url=None,
    )
    for_clients: dict[str, Any] = {"dependencies": [Depends(is_allowed)], "responses": _PROBLEMS}

    @app.get("/", include_in_schema=False)
    async def index() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.get("/health")
    async def health() -> Health:
        """Whether the service is up."""
        return Health(status="ok", version=__version__, requests=service.uploads.requests)

    @app.post("/findings", response_class=Response, openapi_extra=_LOG_BODY, **for_clients)
    async def findings(request: Request, asked: Annotated[FindingsQuery, Query()]) -> Response:
        """Judges a log. The body is the log."""
        try:
            require(asked.format)
        except ImportError as error:
            raise HTTPException(501, str(error)) from error
        reference = service.against(asked.reference)
        async with service.uploads.receive(request) as path:
            work = service.in_turn(request, lambda: service.judge(path, asked, reference))
            answer = await _answered(path, asked.name, work)
        return Response(
            answer.encode("utf-8", "backslashreplace"),
            media_type=f"{CONTENT_TYPES[asked.format]}; charset=utf-8",
            headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
        )

    @app.post("/references", status_code=201, openapi_extra=_LOG_BODY, **for_clients)
    async def learn(request: Request, asked: Annotated[ReferenceQuery, Query()]) -> ReferenceFacts:
        """Learns what is healthy, and keeps it until the service ends. The body is a healthy log."""
        service.check_room(asked.name)
        async with service.uploads.receive(request) as path:
            work = service.in_turn(request, lambda: service.pipe.fit(path, encoding=asked.encoding))
            reference = await _answered(path, "upload", work)
            # Here, and not in the thread: what was given up has read a part of the log only.
            kept = service.keep(asked.name, reference)
        return _facts(asked.name, kept)

    @app.get("/references", **for_clients)
    async def references() -> list[ReferenceFacts]:
        """The references that requests can name."""
        return [_facts(name, kept) for name, kept in sorted(service.references.items())]

    @app.delete("/references/{name}", status_code=204, **for_clients)
    async def forget(name: Annotated[str, PathParameter(pattern=NAME)]) -> None:
        """Forgets a reference."""
        service.kept(name)
        if name in service.fixed:
            raise HTTPException(409, f"the reference {name!r} is the service's own, and stays")
        service.references.pop(name, None)

    return app


async def _answered(path: Path, name: str, work: Awaitable[Answer]) -> Answer:
    try:
        return await work
    except (ValueError, EOFError, OSError) as error:
        raise HTTPException(400, str(error).replace(str(path), name)) from error


def _facts(name: str, kept: KeptReference) -> ReferenceFacts:
    reference = kept.reference
    return ReferenceFacts(name=name, entries=reference.num_entries, texts=len(reference.texts), since=kept.since)


def check_neighbour(request: Request, is_open: bool) -> None:
    """Keeps pages of other sites, which a browser on this machine may show, from asking a service without a token.

    Raises:
        HTTPException: the request comes from another site, or was meant for another host.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise HTTPException(403, f"without a token no other site is served: {origin}")
    if not is_open and not is_loopback(_host_name(host)):
        raise HTTPException(403, f"without a token only this machine is served, and not as {host!r}")


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service at this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


__all__ = ["KeptReference", "Limits", "Service", "create_app", "is_loopback"]
