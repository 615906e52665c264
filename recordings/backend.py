"""A small web application to run behind proxies: `python -m recordings.backend PORT FOLDER`.

`/items/N` and `/search?q=…` answer at once, `/report/N` takes up to 0.3 seconds, `/upload` takes a body, `/broken`
answers 500, `/health` answers ok, all else 404. While a file `slow` lies in FOLDER every answer takes as many seconds
as it says.
"""

import contextlib
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Application(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server_version = "app/1.4"
    sys_version = ""
    folder = Path()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        with contextlib.suppress(OSError):
            self.rfile.read(length)
            with contextlib.suppress(OSError, ValueError):
                time.sleep(float((self.folder / "slow").read_text()))
            kind = self.path.partition("?")[0].strip("/").partition("/")[0]
            if kind == "report":
                time.sleep(random.uniform(0.05, 0.3))
            status = {"broken": 500, "items": 200, "search": 200, "report": 200, "upload": 201, "health": 200}.get(
                kind, 404
            )
            size = {"health": 3, "report": random.randint(2000, 60000)}.get(kind, random.randint(200, 4000))
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Cache-Control", "max-age=2" if kind == "items" else "no-store")
            self.send_header("Content-Length", str(size))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(b"x" * size)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _answer  # the names http.server looks for

    def log_message(self, *_: object) -> None:
        """Nothing: the proxy's log is recorded."""


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that leave early are ordinary."""


def main() -> None:
    """Serve until ended."""
    port, Application.folder = int(sys.argv[1]), Path(sys.argv[2])
    Server(("127.0.0.1", port), Application).serve_forever()


if __name__ == "__main__":
    main()
