"""Chromium without a window, driven over its own protocol through a pair of pipes: what a page really does.

https://chromedevtools.github.io/devtools-protocol, one JSON message after another, each ended by a zero byte.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 60.0


class Chromium:
    """A browser with one page; `with Chromium() as browser`.

    Attributes:
        requests: addresses that the page has asked for.
        complaints: what it wrote to its console, and errors.
    """

    def __init__(self, width: int = 1200, height: int = 900):
        assert FOUND, f"none of {NAMES} is installed"
        self._folder = tempfile.TemporaryDirectory(prefix="logmoe-chromium-", ignore_cleanup_errors=True)
        # The browser reads from 3 and writes to 4; high numbers keep ours out of their way.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for pair in (os.pipe(), os.pipe()) for end in pair]
        theirs, self._write, self._read, answers = ends

        def connect() -> None:
            os.dup2(theirs, 3)
            os.dup2(answers, 4)

        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--mute-audio"]
        # A page that nobody looks at would get little time, and no frames.
        flags += ["--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows"]
        flags += ["--disable-background-timer-throttling", "--disable-background-networking"]
        flags += ["--disable-dev-shm-usage", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            [str(FOUND), *flags, f"--user-data-dir={self._folder.name}", "about:blank"],
            preexec_fn=connect,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._number, self._waiting, self._session, self._is_loaded = 0, b"", None, False
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = next(of for of in self._targets() if of["type"] == "page")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._folder.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol, and waits for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, path: Path | str) -> None:
        """Opens a file, and waits until it is loaded."""
        self._is_loaded = False  # the event may come before the answer
        self.call("Page.navigate", url=path if isinstance(path, str) else path.resolve().as_uri())
        while not self._is_loaded:
            self._note(self._next())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise, as plain data."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def settle(self) -> None:
        """Waits until what has changed is drawn."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 300)))")

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, **features: str) -> None:
        """Sets media features, such as `prefers_color_scheme="dark"`."""
        pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=pairs)

    def key(self, name: str) -> None:
        """Presses a key, such as `"Tab"` or `"Enter"`."""
        codes = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " ")}
        code, text = codes[name]
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, text=text)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A picture of what is in view, or of the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _targets(self) -> list[dict[str, Any]]:
        end = time.monotonic() + PATIENCE
        while not (targets := self.call("Target.getTargets")["targetInfos"]) and time.monotonic() < end:
            time.sleep(0.05)
        return targets

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._waiting:
            if not select.select([self._read], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{FOUND} has not answered for {PATIENCE:.0f} s")
            if not (read := os.read(self._read, 1 << 20)):
                raise RuntimeError(f"{FOUND} has ended")
            self._waiting += read
        message, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        about = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif event.get("method") == "Page.loadEventFired":
            self._is_loaded = True
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"]))
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(about["args"]))
