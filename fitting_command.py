"""Healthy logs in, a reference out: `logmoe fit` saves what `--baseline` would learn from them each time.

Holds also how both find out what they were given: a log, a folder of logs, a pattern, or a saved reference.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

from logmoe import LogAnomalyPipeline, inference
from logmoe.accept_command import LOCK, being_changed
from logmoe.answering import count, name_of
from logmoe.applying_logmoe import is_saved_reference
from logmoe.console import Console, visible
from logmoe.explaining import tell_problem
from logmoe.reading_logmoe import EmptyLogError, find_logs
from logmoe.reference_logmoe import MAX_REFERENCE_ENTRIES, LogReference
from logmoe.saving_logmoe import SAVING
from logmoe.sources_logmoe import OF_REFERENCE, Repeats


def fit(
    good: Sequence[str],
    output: str,
    console: Console,
    model: str | None = None,
    max_reference_entries: int | None = None,
    encoding: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    **cutting: Any,
) -> int:
    """`logmoe fit GOOD… -o REFERENCE`: learns what is healthy, and saves it.

    A log that cannot be read to its end is named, and the reference made of the others and of what came before.

    Args:
        good: as for `learn`.
        output: folder to save the reference in.
        cutting: how logs are read and cut, by the names of a call's parameters; None stands for the default.

    Returns:
        The exit code: 2 if a log could not be read to its end.

    Raises:
        FileExistsError: something else lies at `output`.
        OSError: it cannot be written.
        FileNotFoundError, EmptyLogError, ValueError: as `learn`.
    """
    refuse_to_overwrite(output)
    with _taken(output):  # before the work: it cannot be for nothing
        if forgotten := _forgotten(good, output):
            console.note(
                f"{visible(output)} is replaced, and with it {count(forgotten, 'accepted finding')}: "
                "to keep what is accepted, name it among GOOD too"
            )
        pipe = load(console, model, device, trust_remote_code)
        reference, read = learn(pipe, good, encoding, console, max_reference_entries, **given(cutting))
        reference.save_pretrained(output)
    print(f"{visible(output)}: {told(reference, read)}", flush=True)
    return 2 if read["failed"] else 0


def load(
    console: Console, model: str | None, device: str | None, trust_remote_code: bool = False
) -> LogAnomalyPipeline:
    """Loads a checkpoint, by default the built-in one; see [`load_pipeline`]."""
    logging.disable_progress_bar()
    with console.waiting("loading the model"):
        return inference.load_pipeline(
            model or inference.DEFAULT_CHECKPOINT, device=device, trust_remote_code=trust_remote_code
        )


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def learn(
    pipe: LogAnomalyPipeline,
    given: Sequence[str],
    encoding: str | None,
    console: Console,
    max_reference_entries: int | None = None,
    **overrides: Any,
) -> tuple[LogReference, dict[str, int]]:
    """Makes one reference of healthy logs and saved references. A bad log among them is told; the others are read.

    Args:
        pipe: what will judge against it.
        given: paths of logs, folders of logs, patterns, `"-"`, and folders of references.
        encoding: of the logs.
        console: where progress is shown.
        max_reference_entries: see [`LogAnomalyPipeline.fit`]; by default its own, or that of the largest reference.
        overrides: how logs are cut.

    Returns:
        The reference, and how many logs and references were read; under "failed", how many logs not to their end, and
        under "repeated", how many paths name nothing but what others before them do.

    Raises:
        FileNotFoundError: there is no log.
        EmptyLogError: there is no log entry.
        ValueError: a reference belongs to another checkpoint, or as `pipe.fit`.
    """
    healthy: list[Any] = []
    read = {"log": 0, "reference": 0, "failed": 0, "repeated": 0}
    repeats = Repeats()

    def is_new(source: Any) -> bool:
        if said := repeats.of(source):
            console.note(f"{name_of(source)}: {said}", "skipped")
        return said is None

    for path in given:
        if is_saved_reference(path):
            if not is_new(path):
                read["repeated"] += 1
                continue
            healthy.append(LogReference.from_pretrained(path))
            read["reference"] += 1
            continue
        found = list(filter(is_new, find_logs(path)))
        read["repeated"] += not found
        healthy += found
        read["log"] += len(found)
    if [type(log) for log in healthy] == [LogReference] and max_reference_entries is None:
        return healthy[0], read  # whether it fits is checked where it is used
    if max_reference_entries is None:
        bounds = [log.max_reference_entries for log in healthy if isinstance(log, LogReference)]
        max_reference_entries = max([MAX_REFERENCE_ENTRIES, *bounds])
    bar = console.progress("healthy logs")

    def show(bytes_read: int, total_bytes: int | None) -> None:
        if bytes_read < bar.n:  # the next log
            bar.reset(total_bytes)
        bar.total = total_bytes
        bar.update(bytes_read - bar.n)

    problems: list[tuple[str, Exception]] = []
    reference = None
    with bar, contextlib.suppress(EmptyLogError):
        reference = pipe.fit(
            *healthy,
            encoding=encoding,
            max_reference_entries=max_reference_entries,
            on_progress=show,
            on_problem=lambda log, error: problems.append((log, error)),
            **overrides,
        )
    for log, error in problems:
        is_empty = isinstance(error, EmptyLogError)
        tell_problem(console, name_of(log), error, "skipped" if is_empty else "error")
        read["failed"] += not is_empty
        read["log"] -= is_empty
    if reference is None:
        raise EmptyLogError("no log entry could be read, so nothing was learned")
    return reference, read


def refuse_to_overwrite(folder: str) -> None:
    """Refuses to save a reference where something else lies.

    Raises:
        FileExistsError: there is a file, or a folder with other things in it.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        what = "a file"
    elif path.is_dir() and not is_saved_reference(folder) and not all(map(_is_left_over, path.iterdir())):
        what = "a folder that holds no reference"
    else:
        return
    raise FileExistsError(f"{folder} is {what}: name a new folder, or one with a reference, which is replaced")


def _is_left_over(path: Path) -> bool:
    """Whether a file or folder is what a killed fit left."""
    return path.name.startswith(SAVING) or bool(OF_REFERENCE.fullmatch(path.name))


@contextlib.contextmanager
def _taken(output: str) -> Iterator[None]:
    """Makes the folder of a reference, or takes the one there, so that no other run changes it meanwhile.

    Without a reference in the end what was made is removed.
    """
    path = Path(output)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_unmake, path, made)
        try:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(being_changed(path))
        except TimeoutError:  # another run has it
            raise
        except OSError as error:
            raise OSError(f"cannot save a reference in {output}: {error.strerror or error}") from error
        yield


def _unmake(path: Path, made: list[Path]) -> None:
    if made and not is_saved_reference(path):
        with contextlib.suppress(OSError):
            (path / LOCK).unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()


def _forgotten(good: Sequence[str], output: str) -> int:
    """How many accepted findings the reference at `output` has that the new one will not know of."""
    if not is_saved_reference(output):
        return 0
    try:
        known = set(LogReference.from_pretrained(output).accepted)
    except (OSError, ValueError):  # damaged: what replaces it cannot be worse
        return 0
    if known:
        for path in filter(is_saved_reference, good):
            known -= LogReference.from_pretrained(path).accepted.keys()
    return len(known)


def told(reference: LogReference, read: dict[str, int]) -> str:
    """What was read, kept and dropped, in words."""
    sources = [count(read[kind], kind) for kind in ("log", "reference") if read[kind]]
    kept = f"{len(reference):,} kept" if len(reference) < reference.num_entries else "all kept"
    texts = f"{count(len(reference.texts), 'distinct text')}, {count(len(reference.templates.texts), 'template')}"
    dropped = reference.num_entries - len(reference)
    of = f" of {len(set(reference.service.tolist()))} services" if reference.services else ""
    parts = [f"{count(reference.num_entries, 'healthy entry')}{of} from {' and '.join(sources)}; {kept}; {texts}"]
    if dropped:
        parts.append(f"dropped {dropped:,}, evenly over the logs (--max-reference-entries)")
    if reference.num_dropped_texts:
        parts.append(f"{reference.num_dropped_texts:,} of them with a text that is not known at all")
    if read["failed"]:
        parts.append(f"{count(read['failed'], 'log')} not read to the end")
    return "; ".join(parts)
