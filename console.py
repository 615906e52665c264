"""What the command says beside its answer: notes, problems, progress, colours.

Everything that a log, a file name or an exception may hold goes through `visible` before it reaches a terminal,
and all that is said through `Console._say`, which sees to it.
"""

import contextlib
import json
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from tqdm import tqdm

from logmoe.sources_logmoe import visible, words_of

# Seconds after which progress is shown: who waits for less needs no bar.
PATIENCE = 2.0
# Errors whose message says all; of others the kind is told too.
SPOKEN_ERRORS = (OSError, ValueError, ImportError, FloatingPointError)


def named(name: str, said: str) -> str:
    """What is said of a file, with its name once."""
    return said if said.startswith(f"{name}: ") else f"{name}: {said}"


def json_text(data: Any) -> str:
    """JSON on one line, which any parser and terminal takes: in ASCII, without NaN.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(data, allow_nan=False).replace("\x7f", "\\u007f")  # DEL is the one that json.dumps leaves


def visible_lines(text: str) -> str:
    """The same line by line, for texts that have lines of their own, such as a command to copy."""
    return "\n".join(map(visible, text.split("\n")))


@dataclass(frozen=True)
class Paint:
    """Colours of the answer; without them every text stays as it is."""

    is_on: bool = False

    def strong(self, text: str) -> str:
        return click.style(text, bold=True) if self.is_on else text

    def faint(self, text: str) -> str:
        return click.style(text, dim=True) if self.is_on else text

    def warning(self, text: str) -> str:
        return click.style(text, fg="yellow") if self.is_on else text


PLAIN = Paint()


class AnswerError(OSError):
    """The answer cannot be written, as on a full disk: no log is to blame for it."""


class _Answer:
    """A stream whose errors say that they are its own."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _of_answer():
            return int(self._stream.write(text))

    def flush(self) -> None:
        with _of_answer():
            self._stream.flush()


@contextlib.contextmanager
def _of_answer() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever reads it has seen enough
        raise
    except OSError as error:
        raise AnswerError(f"cannot write the answer: {error.strerror or error}") from error


class _Notes(logging.Handler):
    """Says what the library warns of as notes of the command."""

    def __init__(self, console: "Console"):
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=sys.stderr):  # beside a bar, not in it
            self.console.note(record.getMessage())


class Console:
    """The terminal as the command sees it.

    Args:
        is_quiet: only the answer and errors are shown.
        is_verbose: what the work took is said too, and errors show where they came from.
        color: `"auto"` (on a terminal, unless the environment sets NO_COLOR or a dumb TERM), `"always"` or `"never"`.

    Attributes:
        paint: of the answer.
    """

    def __init__(self, is_quiet: bool = False, is_verbose: bool = False, color: str = "auto"):
        self.is_quiet, self.is_verbose = is_quiet, is_verbose
        self.color = color
        self.paint = Paint(self._is_coloured(sys.stdout))

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Within it what cannot be printed is an [`AnswerError`], and what the library warns of is a note."""
        library, notes = logging.getLogger("logmoe"), _Notes(self)
        library.addHandler(notes)
        try:
            with contextlib.redirect_stdout(_Answer(sys.stdout)):
                yield
                sys.stdout.flush()
        finally:
            library.removeHandler(notes)

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where there is none, and nothing is cut."""
        return shutil.get_terminal_size().columns if _is_terminal(sys.stdout) else None

    @property
    def shows_progress(self) -> bool:
        return not self.is_quiet and _is_terminal(sys.stderr)

    def note(self, text: str, what: str = "warning") -> None:
        """Says what a reader should know, such as what was skipped; `what` is `"error"` for what goes wrong."""
        if what == "error" or not self.is_quiet:
            self._say(f"{what}: {visible(text)}")

    def effort(self, text: str) -> None:
        """Says what the work took."""
        if self.is_verbose:
            self._say(text)

    def error(self, error: BaseException) -> None:
        """Says what ended the work."""
        kind = "" if isinstance(error, SPOKEN_ERRORS) else f"{type(error).__name__}: "
        self._say(f"error: {kind}{visible(words_of(error))}")
        if self.is_verbose:
            self._say("".join(traceback.format_exception(error)).rstrip())

    def progress(self, name: str, is_shown: bool = True) -> tqdm:
        """A bar of bytes, with their rate; on a terminal, once the work takes long."""
        return tqdm(
            desc=visible(name),
            unit="B",
            unit_scale=True,
            disable=not (is_shown and self.shows_progress),
            leave=False,
            miniters=1,
            delay=PATIENCE,
        )

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Says on a terminal what is waited for, and takes it back."""
        if not self.shows_progress:
            yield
            return
        sys.stderr.write(f"{visible(text)} …")
        sys.stderr.flush()
        try:
            yield
        finally:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _say(self, text: str) -> None:
        if sys.stderr is None:  # closed by the caller
            return
        text = visible_lines(text.expandtabs())
        what, colon, rest = text.partition(": ")
        color = {"error": "red", "warning": "yellow", "skipped": "yellow"}.get(what)
        if color and colon and self._is_coloured(sys.stderr):
            text = f"{click.style(what, fg=color)}: {rest}"
        print(text, file=sys.stderr)

    def _is_coloured(self, stream) -> bool:
        if self.color != "auto":
            return self.color == "always"
        return _is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _is_terminal(stream) -> bool:
    return stream is not None and stream.isatty()


__all__ = ["PLAIN", "AnswerError", "Console", "Paint", "json_text", "visible", "visible_lines"]
