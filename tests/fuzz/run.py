"""Tries inputs for as long as one likes: `make fuzz MINUTES=10`.

Each door has its turn in a process of its own, for an input may end it. What fails is saved, and tried again by
`python tests/fuzz/run.py FILE`; a file that is moved to tests/fuzz/found/ is tried by the tests from then on.
"""

import argparse
import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import TextIO

HERE = Path(__file__).parent
# What a door may take in its turn, in seconds.
TURN = 60
# What one input may take, of a processor's time and of everybody's.
INPUT_SECONDS, INPUT_WAIT = 60, 900
INPUT_MIB = 6144


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("inputs", nargs="*", type=Path, help="saved inputs, DOOR-*, to try again")
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--seed", type=int, help="of the first turn; by default a fresh one")
    arguments.add_argument("--doors", nargs="*", help="only these")
    arguments.add_argument("--output", type=Path, default=HERE.parents[1] / "build" / "fuzz")
    given = arguments.parse_args()
    prepare()
    if given.inputs:
        from doors import DOORS

        for path in given.inputs:
            DOORS[path.name.partition("-")[0]].check(path.read_bytes())
        return 0
    return fuzz(given)


def prepare() -> None:
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    warnings.simplefilter("ignore")


def fuzz(given: argparse.Namespace) -> int:
    """Gives each door its turn until the time is over, and says how many inputs there were and what failed."""
    seed = given.seed if given.seed is not None else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}", flush=True)
    given.output.mkdir(parents=True, exist_ok=True)
    import torch
    from doors import DOORS

    torch.set_num_threads(1)  # whose threads no fork would have

    doors = given.doors or list(DOORS)
    counts: Counter[str] = Counter()
    failures: dict[str, list[str]] = {}
    end = time.monotonic() + 60 * given.minutes
    while time.monotonic() < end:
        for door in doors:
            seconds = min(TURN, max(1.0, (end - time.monotonic()) / len(doors)))
            made, failed = watched_turn(door, seed, seconds, given.output)
            counts[door] += made
            for what, path in failed:
                kind = what.partition(": ")[0]
                if kind not in failures:
                    print(f"{door}: {what}\n    {path}", flush=True)
                failures.setdefault(kind, []).append(path)
            seed += 1
    print(", ".join(f"{door} {counts[door]:,}" for door in doors) + f"; {counts.total():,} inputs")
    print(f"{len(failures)} kinds of failure, {sum(map(len, failures.values())):,} inputs")
    return int(bool(failures))


def watched_turn(name: str, seed: int, seconds: float, output: Path) -> tuple[int, list[tuple[str, str]]]:
    """A turn in a process of its own: how many inputs, and what failed."""
    with tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                turn(name, seed, seconds, output, answer)
                status = 0
            except BaseException:
                traceback.print_exc(file=said)
                said.flush()
            finally:
                os._exit(status)  # nothing of the parent's is ended twice
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer.seek(0)
        records = [json.loads(line) for line in answer]
        said.seek(0)
        words = said.read().strip()
    failed = [(record["what"], record["path"]) for record in records if "what" in record]
    if status:
        path = output / f"{name}-crash-{seed}"
        if (output / f"{name}-current").exists():
            (output / f"{name}-current").replace(path)
        failed.append((f"ended with {status}: {words[-300:]!a}", str(path)))
    return max((record["made"] for record in records), default=0), failed


def turn(name: str, seed: int, seconds: float, output: Path, answer: TextIO) -> None:
    """Tries inputs of a door and writes what failed, a line of JSON each."""
    from doors import DOORS

    faulthandler.enable()
    # A hostile file must not take all memory: here that is an error.
    resource.setrlimit(resource.RLIMIT_AS, (INPUT_MIB << 20, INPUT_MIB << 20))
    for of in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(of, too_long)
    door, current, made = DOORS[name], output / f"{name}-current", 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = door.make(random.Random(f"{name} {seed} {made}"))
        current.write_bytes(data)
        made += 1
        record: dict[str, object] = {"made": made}
        try:
            limit(INPUT_SECONDS, INPUT_WAIT)
            door.check(data)
        except BaseException as error:
            limit(0, 0)
            path = output / f"{name}-{seed}-{made}"
            path.write_bytes(data)
            record |= {"what": told(error), "path": str(path)}
        finally:
            limit(0, 0)
        print(json.dumps(record), file=answer, flush=True)
    current.unlink()


def limit(seconds: float, wait: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, wait)


def told(error: BaseException) -> str:
    """What failed, and where in our code; failures of one kind read alike."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "site-packages" not in frame.filename]
    return f"{type(error).__name__} at {' < '.join(reversed(ours[-3:]))}: {ascii(str(error))[1:101]}"


def too_long(*_: object) -> None:
    raise TimeoutError(f"it takes more than {INPUT_SECONDS} s of work, or {INPUT_WAIT} s of waiting")


if __name__ == "__main__":
    sys.exit(main())
