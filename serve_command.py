"""What `logmoe serve` does once its options are read: loads the model and healthy logs, and answers over HTTP."""

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from logmoe.console import Console, visible
from logmoe.fitting_command import learn, load
from logmoe.inference import DEFAULT_CHECKPOINT
from logmoe.reference_logmoe import LogReference

TOKEN_VARIABLE = "LOGMOE_TOKEN"


def serve(
    console: Console,
    host: str = "127.0.0.1",
    port: int = 8000,
    model: str | None = None,
    reference: Sequence[str] = (),
    token_file: str | None = None,
    without_token: bool = False,
    max_megabytes: int = 256,
    max_seconds: float = 300.0,
    max_requests: int = 512,
    max_references: int = 16,
    encoding: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> int:
    """Serves until it is interrupted.

    Args:
        console: where progress is shown.
        host: name or address to listen at; one that other machines reach needs a token.
        port: 0 takes a free one.
        model: checkpoint; by default the built-in one.
        reference: healthy logs that requests can name, each `NAME=GOOD`, GOOD as for `--baseline`.
        token_file: holds the bearer token that clients must show; by default that of the variable LOGMOE_TOKEN.
        without_token: serve other machines without one.
        max_megabytes, max_seconds, max_requests, max_references: see [`Limits`].
        encoding: of the healthy logs.
        device: as for `load_pipeline`.

    Returns:
        The exit code.

    Raises:
        OSError: the address is taken, or a healthy log or the token cannot be read.
        ValueError: an argument is out of range, or other machines could ask without a token.
        ImportError: a library is not installed.
        KeyboardInterrupt: it was interrupted.
    """
    try:
        import uvicorn

        from logmoe.serving import Limits, Service, check_name, create_app, is_loopback
    except ImportError as error:
        raise ImportError(
            f"`logmoe serve` needs libraries that are not installed ({error}): pip install 'logmoe[serve]'"
        ) from error
    healthy, token = _named(reference), _token(token_file, os.environ)
    if token is None and not without_token and not is_loopback(host):
        raise ValueError(
            f"other machines can reach {host!r}: set {TOKEN_VARIABLE}, or --token-file, to a token that clients must "
            "show; or say --without-token"
        )
    for name in healthy:
        check_name(name)
    bounds = Limits(max_megabytes << 20, 8 * max_megabytes << 20, max_seconds, max_requests, max_references)
    with _listen(host, port) as listener:
        pipe = load(console, model, device, trust_remote_code)
        if pipe.stored_reference is not None:
            pipe.findings(["does it fit?"])  # a mistake is told now, not to the first client
        known: dict[str, LogReference] = {}
        for name, good in healthy.items():
            known[name], _ = learn(pipe, [good], encoding, console)
            pipe.findings(["does it fit?"], reference=known[name])
        app = create_app(Service(pipe, bounds, known), token, is_open=without_token)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        at = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        print(f"serving {visible(model or DEFAULT_CHECKPOINT)} at {at}; how to ask: {at}/docs", flush=True)
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _named(references: Sequence[str]) -> dict[str, str]:
    """
    Raises:
        ValueError: not NAME=GOOD, or a name is given twice.
    """
    named: dict[str, str] = {}
    for given in references:
        name, equals, good = given.partition("=")
        if not equals or not good:
            raise ValueError(f"--reference {given!r}: expected NAME=GOOD, as in shop=yesterday.log")
        if name in named:
            raise ValueError(f"--reference names {name!r} twice")
        named[name] = good
    return named


def _token(path: str | None, environment: Mapping[str, str]) -> str | None:
    """The token, from a file or the environment: what stands on a command line can be read by all users.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no token that a header could.
    """
    if path is not None:
        token, where = Path(path).read_text(encoding="utf-8").strip(), path
    elif TOKEN_VARIABLE in environment:
        token, where = environment[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE
    else:
        return None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"the token in {where} must be one word of printable ASCII characters")
    return token


def _listen(host: str, port: int) -> socket.socket:
    """
    Raises:
        OSError: the address is not ours, or taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise OSError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error
