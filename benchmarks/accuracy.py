"""How good is LogMoE? All questions, all rivals, one command.

    python benchmarks/accuracy.py [--data FOLDER] [--parts NAME…]      # measures what is not measured yet
    python benchmarks/accuracy.py --page                               # writes page and table anew from the JSON

Writes `results/accuracy.json`, `docs/results.md` and the tables in the README and in `docs/reference.md`. Each step
is kept in `--work` under a digest of the code and the checkpoint that it depends on: started again, the command goes
on where it was, and measures again what has changed.
Without `--data` the parts that read public logs stay as they are in the JSON. Each part says how long it took.
"""

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the recordings are no part of the installed package

import accuracy_ablations  # noqa: E402
import accuracy_amount  # noqa: E402
import accuracy_drift  # noqa: E402
import accuracy_encoders  # noqa: E402
import accuracy_errors  # noqa: E402
import accuracy_experts  # noqa: E402
import accuracy_labels  # noqa: E402
import accuracy_left_out  # noqa: E402
import accuracy_masks  # noqa: E402
import accuracy_page  # noqa: E402
import accuracy_per_day  # noqa: E402
import accuracy_public  # noqa: E402
import accuracy_retrained  # noqa: E402
import accuracy_short  # noqa: E402
import accuracy_suspects  # noqa: E402
import accuracy_unseen  # noqa: E402
import torch  # noqa: E402
from accuracy_detectors import Boosting, RememberingPipeline  # noqa: E402
from accuracy_recordings import Latest  # noqa: E402
from accuracy_store import Clock, Kept, Key, Part, Store, digest_of, model_digest, without_nan, write_json  # noqa: E402
from machine import describe  # noqa: E402

from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline  # noqa: E402
from recordings import corpus  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "accuracy.json"
PAGE, README, REFERENCE = ROOT / "docs" / "results.md", ROOT / "README.md", ROOT / "docs" / "reference.md"
PARTS: dict[str, Part] = {
    part.name: part
    for module in (
        accuracy_unseen,
        accuracy_per_day,
        accuracy_short,
        accuracy_drift,
        accuracy_amount,
        accuracy_suspects,
        accuracy_ablations,
        accuracy_errors,
        accuracy_experts,
        accuracy_retrained,
        accuracy_left_out,
        accuracy_encoders,
        accuracy_masks,
        accuracy_public,
        accuracy_labels,
    )
    for part in module.PARTS
}
# They take as long as all others together; `make accuracy` leaves them out, `--parts` asks for them.
LONG = ("retrained", "shuffled", "left_out", "encoders")


class Bench(Latest):
    """What the steps share in one process: the model, the recordings of the latest service, what is kept.

    Args:
        options: of the command line.
    """

    processor_clock = staticmethod(time.process_time)

    def __init__(self, options: argparse.Namespace):
        torch.set_num_threads(1)
        logging.getLogger("transformers").setLevel(logging.ERROR)
        self.options = options
        pipe = load_pipeline(options.model, device="cpu", pipeline_class=RememberingPipeline)
        assert isinstance(pipe, RememberingPipeline)
        super().__init__(pipe)
        self.model = model_digest(pipe.model)
        self.store = Store(options.work, self.model, PARTS)
        measuring = [ROOT / f"{name}_logmoe.py" for name in ("habits", "surprise", "templates", "parsing", "masking")]
        measuring += [ROOT / "rules_logmoe.py", ROOT / "masks_logmoe.py", ROOT / "training" / "episodes.py"]
        folder = options.work / f"episodes-{self.model}-{digest_of(measuring)}"
        self.boosting = Boosting(pipe, folder)

    def kept(self, part: str) -> Kept:
        """The steps of another part."""
        return self.store.kept(part, PARTS[part].keys(self.options))[0]

    def run(self, part: str, key: Key) -> None:
        """Measures a step, if it is not measured yet."""
        if self.store.has(part, key):
            return
        clock = Clock()
        record, arrays = PARTS[part].measure(self, key)
        seconds = clock.seconds()
        self.store.write(part, key, record, arrays, seconds)
        told = " ".join(str(value) for value in key.values())
        print(f"{part} {told}: {seconds['wall']:.0f} s", file=sys.stderr, flush=True)


_bench: Bench | None = None


def _start(options: argparse.Namespace) -> None:
    global _bench
    _bench = Bench(options)


def _run(steps: Sequence[tuple[str, Key]]) -> None:
    assert _bench is not None
    for part, key in steps:
        _bench.run(part, key)


def groups_of(parts: Sequence[Part], options: argparse.Namespace) -> list[list[tuple[str, Key]]]:
    """Steps of the same service, for one worker; parts that read no others' arrays first."""
    groups: dict[tuple[str, str], list[tuple[str, Key]]] = {}
    for part in parts:
        for key in part.keys(options):
            alike = key.get("service") or key.get("variant", part.name)
            groups.setdefault((part.name if part.after else "", alike), []).append((part.name, key))
    return list(groups.values())


def measure(parts: Sequence[Part], options: argparse.Namespace, bench: Bench) -> None:
    """Measures what is missing, in as many processes as are asked for."""
    for stage in (False, True):
        chosen = [part for part in parts if bool(part.after) is stage]
        groups = groups_of(chosen, options)
        missing = [[step for step in group if not bench.store.has(*step)] for group in groups]
        missing = [group for group in missing if group]
        if options.workers == 1 or len(missing) < 2:
            for group in missing:
                for step in group:
                    bench.run(*step)
            continue
        if any(PARTS[part].with_boosting for group in missing for part, _ in group):
            bench.boosting.without("")  # once, and not in each process
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.workers, context, _start, (options,)) as pool:
            for done in [pool.submit(_run, group) for group in missing]:
                done.result()


def gather(parts: Sequence[Part], options: argparse.Namespace, bench: Bench, content: dict[str, Any]) -> None:
    """Puts what is measured into the content of the JSON, part by part; others stay as they are."""
    for part in parts:
        kept, steps = bench.store.kept(part.name, part.keys(options))
        if not steps:
            continue
        content.setdefault("parts", {})[part.name] = {
            "model": bench.model,
            "code": bench.store.code(part.name),
            "date": datetime.now(UTC).date().isoformat(),
            "steps": len(steps),
            "steps_asked": len(part.keys(options)),
            "seconds": {
                name: round(sum(step["seconds"][name] for step in steps), 1) for name in ("wall", "processor")
            },
            "machine": steps[-1]["machine"],
            "result": without_nan(part.summarise(kept)),
        }
    content["model"] = bench.model


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the public logs, see accuracy_public.py")
    parser.add_argument("--parts", nargs="+", choices=PARTS, metavar="NAME", help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--services", nargs="+", default=list(corpus.TEST_ONLY), help="default: those never trained on"
    )
    parser.add_argument("--draws", type=int, default=5, help="of each reference (default: 5)")
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT)
    parser.add_argument(
        "--most_lines", type=int, default=accuracy_public.MOST_LINES, help="of a third of a public log"
    )
    parser.add_argument("--steps", type=int, default=600, help="of the training of networks anew (default: 600)")
    parser.add_argument(
        "--groups",
        type=int,
        default=4,
        help="of services left out in turn in parts retrained, shuffled and left_out (default: 4)",
    )
    parser.add_argument("--encoder", type=Path, help="folder of MiniLM, for part encoders")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one for a core)")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "accuracy", help="where steps are kept")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--gather", action="store_true", help="measure nothing: put what is kept into JSON and page")
    parser.add_argument("--page", action="store_true", help="write the page from the JSON, and nothing else")
    options = parser.parse_args(arguments)
    corpus.check_services(options.services)
    if options.groups < 2:
        parser.error(f"--groups must be 2 or more, so that some services are left to learn from, got {options.groups}")
    if options.draws < 1 or options.workers < 1:
        parser.error(f"--draws and --workers must be 1 or more, got {options.draws} and {options.workers}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    content: dict[str, Any] = {}
    if options.output.exists():
        content = json.loads(options.output.read_text(encoding="utf-8"))
    if not options.page:
        begun = time.monotonic()
        bench = Bench(options)
        names = options.parts or [name for name in PARTS if name not in LONG]
        parts = [PARTS[name] for name in names if options.data is not None or not PARTS[name].is_public]
        if not options.gather:
            measure(parts, options, bench)
        gather(parts, options, bench, content)
        content["machine"] = describe()
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.output, content)
        for name in names:
            spent = content["parts"].get(name, {}).get("seconds")
            print(f"{name}: " + (f"{spent['wall']:.0f} s" if spent else "not measured"), file=sys.stderr)
        print(f"{time.monotonic() - begun:.0f} s in all", file=sys.stderr)
    if options.output == RESULTS:
        accuracy_page.write(content, PAGE, README, REFERENCE)
    else:
        print(accuracy_page.page(content))


if __name__ == "__main__":
    main()
