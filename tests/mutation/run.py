"""Puts faults into the code, one at a time, and says which ones no test notices: `make mutants`.

Cosmic Ray makes the mutants: another operator, another number, a loop that never runs, a decorator taken away. Of each
module a random sample is tried, at places that are equally probable, against the test files that cover it (`COVER`).
Cosmic Ray's own loop would start an interpreter for each mutant, seconds before the first test; here tests run in a
fork of a process that has imported all but our code. The mutants lie in a copy of the repository, as tests also start
processes of their own. (mutmut 3 names a function by the path of its file, and finds none of ours: the root of the
repository is the package.)

A mutant that the tests let live is either a hole in them or equivalent: it does what the code does. Those that were
read and found equivalent are named, with the reason, in `equivalent.json`, and are not counted.
"""

import argparse
import ast
import contextlib
import dataclasses
import difflib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# The test files of each module, the fastest first, and which of their tests, as `pytest -k` takes it: those that take
# long and are of other things are left out.
COVER = {
    "sequences_logmoe": ("test_sequences test_processing", ""),
    "parsing_logmoe": (
        "test_configuration test_processing test_patterns test_parsing",
        "not (chunked or no_line_is_lost or many_quiet)",
    ),
    "modeling_logmoe": (
        "test_modeling test_routing test_features_in_model test_hostile_checkpoints",
        "not (compiles or removing_the_highest)",
    ),
    "reference_logmoe": ("test_reference test_surprise test_measuring", "not push"),
    "judging_logmoe": ("test_judging test_pipeline", ""),
    "training/metrics": ("test_training_metrics", ""),
    "training/splits": ("test_training_data", "split or windows or come_from"),
    "training/trainer": ("test_trainer", ""),
}
# The tests have so many times the seconds that they take without a fault.
PATIENCE = 2
# Copied for each run, as tests may look beside the code; what is large and never changes is linked.
LINKED = ("recordings", "checkpoints", "benchmarks", "examples", "docs", "deploy", ".git", ".github")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A module with one fault; `before` and `after` are the lines that differ, without their indentation."""

    module: str
    operator: str
    line: int
    source: str
    before: str
    after: str


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--modules", nargs="*", default=list(COVER), help=f"of {', '.join(COVER)}")
    arguments.add_argument("--sample", type=int, default=20, help="mutants of each module")
    arguments.add_argument("--seed", type=int, default=0, help="which mutants are drawn")
    arguments.add_argument("--survivors", type=Path, help="results of another run: only what survived it")
    arguments.add_argument("--output", type=Path, default=ROOT / "build" / "mutants")
    given = arguments.parse_args()
    if unknown := set(given.modules) - set(COVER):
        arguments.error(f"{', '.join(sorted(unknown))}: which tests cover it? COVER in {__file__} says so")
    try:
        importlib.import_module("cosmic_ray")
    except ImportError:
        arguments.error("Cosmic Ray makes the mutants: `pip install -c constraints.txt -e '.[mutation]'`")
    given.output = given.output.resolve()
    if given.survivors is not None:
        given.survivors = given.survivors.resolve()
    tree = copy_tree(given.output)
    import_libraries(tree)
    results = []
    for module in given.modules:
        results += try_module(module, given, tree)
        (given.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    return int(any(result["outcome"] == "survived" for result in results))


def copy_tree(output: Path) -> Path:
    """The repository in `output`, where it can be changed; `logmoe` is it, here and in processes that tests start."""
    tree, path = output / "tree", output / "path"
    shutil.rmtree(tree, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".*_cache", ".venv", ".hypothesis", *LINKED)
    shutil.copytree(ROOT, tree, ignore=ignored)
    for name in LINKED:
        if (ROOT / name).exists():
            (tree / name).symlink_to(ROOT / name)
    path.mkdir(exist_ok=True)
    (path / "logmoe").unlink(missing_ok=True)
    (path / "logmoe").symlink_to(tree)
    sys.path[:0] = first = [str(path), str(tree), str(tree / "tests")]
    # A mutant may be as long, and as old, as what was compiled before.
    sys.dont_write_bytecode = True
    others = [word for word in os.environ.get("PYTHONPATH", "").split(os.pathsep) if word and Path(word) != ROOT]
    os.environ |= {
        "PYTHONPATH": os.pathsep.join([*first[:2], *others]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
    os.chdir(tree)
    return tree


def import_libraries(tree: Path) -> None:
    """Imports what our code and the tests import, and nothing of ours: a fork imports that anew."""
    with tempfile.TemporaryFile("w+") as answer:
        child = os.fork()
        if not child:
            status = 1
            try:
                for name in ("pytest", "hypothesis", "logmoe.train", "conftest", "training_fixtures"):
                    importlib.import_module(name)
                assert Path(sys.modules["logmoe"].__path__[0]).resolve() == tree.resolve(), sys.modules["logmoe"]
                files = [(name, getattr(of, "__file__", None) or "") for name, of in list(sys.modules.items())]
                print(json.dumps([name for name, file in files if "site-packages" in file]), file=answer, flush=True)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        assert not os.waitpid(child, 0)[1], "our code cannot be imported"
        answer.seek(0)
        names = json.load(answer)
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # What only lives where something else was imported first.
            sys.modules.pop(name, None)
    import torch

    torch.set_num_threads(1)  # whose threads no fork would have


def try_module(module: str, given: argparse.Namespace, tree: Path) -> list[dict]:
    files, chosen = COVER[module]
    tests = [f"tests/{name}.py" for name in files.split()] + (["-k", chosen] if chosen else [])
    path = tree / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    reviewed = json.loads((HERE / "equivalent.json").read_text(encoding="utf-8")).get(module, [])
    equivalent = {(known["before"], known["after"]): known["why"] for known in reviewed}
    began = time.monotonic()
    outcome, said = run_tests(tests, 1800)
    if outcome != "survived":
        raise SystemExit(f"{module}: its tests fail without a fault, so they can tell nothing.\n{said}")
    seconds = PATIENCE * (time.monotonic() - began) + 30
    print(f"{module}: {time.monotonic() - began:.0f} s without a fault", flush=True)
    results = []
    drawn = sample(mutants(module, source, random.Random(f"{given.seed} {module}")), given.sample)
    if given.survivors is not None:
        before = [result for result in json.loads(given.survivors.read_text()) if result["outcome"] == "survived"]
        left = {(result["module"], result["before"], result["after"]) for result in before}
        drawn = [mutant for mutant in drawn if (mutant.module, mutant.before, mutant.after) in left]
    for mutant in drawn:
        known = equivalent.get((mutant.before, mutant.after))
        began = time.monotonic()
        if known is None:
            path.write_text(mutant.source, encoding="utf-8")
            try:
                outcome, said = run_tests(tests, seconds)
            finally:
                path.write_text(source, encoding="utf-8")
        else:
            outcome, said = "equivalent", known
        took = round(time.monotonic() - began, 1)
        result = dataclasses.asdict(mutant) | {"outcome": outcome, "seconds": took}
        del result["source"]
        if outcome == "survived":
            result["diff"] = difference(source, mutant)
            print(result["diff"], flush=True)
        elif outcome != "equivalent":
            result["noticed_by"] = next(
                (line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))), ""
            )
        print(f"  {outcome:10} {took:6.1f} s  line {mutant.line}, {mutant.operator}", flush=True)
        results.append(result)
    return results


def mutants(module: str, source: str, drawn: random.Random) -> Iterator[Mutant]:
    """Mutants of a module, places in random order, and at each place one of its faults."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    skipped = annotations(source)
    places: dict[tuple, list[tuple[str, int]]] = {}
    nodes = list(ast_nodes(get_ast(source)))
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments():  # Faults that would have to be described.
            continue
        found = (place for node in nodes for place in operator().mutation_positions(node))
        for occurrence, (start, end) in enumerate(found):
            if not any(first <= start and end <= last for first, last in skipped):
                places.setdefault(start, []).append((name, occurrence))
    parsed = ast.dump(ast.parse(source))
    for place in drawn.sample(sorted(places), len(places)):
        name, occurrence = drawn.choice(places[place])
        mutated = mutate_code(source, get_operator(name)(), occurrence)
        try:
            if mutated is None or ast.dump(ast.parse(mutated)) == parsed:
                continue
        except SyntaxError:
            continue
        lines = [line for line in difflib.ndiff(source.splitlines(), mutated.splitlines()) if line[0] in "-+"]
        before, after = ("\n".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
        yield Mutant(module, name.partition("/")[2], place[0], mutated, before, after)


def sample(found: Iterator[Mutant], number: int) -> list[Mutant]:
    return [mutant for mutant, _ in zip(found, range(number), strict=False)]


def annotations(source: str) -> list[tuple]:
    """Where types are written, as pairs of `(line, column)`: what stands there is not run, or fails when imported."""
    places = []
    for node in ast.walk(ast.parse(source)):
        types = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for part in types:
            if isinstance(part, ast.expr):
                end = (part.end_lineno or 0, part.end_col_offset or 0)
                places.append(((part.lineno, part.col_offset), end))
    return places


def run_tests(tests: list[str], seconds: float) -> tuple[str, str]:
    """Runs the tests until one fails, in a process of its own: killed, survived or timeout, and what they said."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            status = 99
            try:
                os.setsid()
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                import pytest

                status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=short", "-rfE", *tests])
                sys.stdout.flush()
            finally:
                os._exit(status)
        ended, status, deadline = 0, 0, time.monotonic() + seconds
        while not ended and time.monotonic() < deadline:
            time.sleep(0.05)
            ended, status = os.waitpid(child, os.WNOHANG)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # What the tests started goes with them.
        if not ended:
            os.waitpid(child, 0)
        said.seek(0)
        words = said.read()
    if not ended:
        return "timeout", words
    return ("survived" if status == 0 else "killed"), words


def difference(source: str, mutant: Mutant) -> str:
    lines = difflib.unified_diff(source.splitlines(), mutant.source.splitlines(), mutant.module, "mutant", lineterm="")
    return "\n".join(lines)


def table(results: list[dict]) -> str:
    """Modules and how many of their mutants the tests noticed, with the 95% interval by Wilson."""
    rows = ["| module | noticed | equivalent | survived | share | 95% |", "|---|---|---|---|---|---|"]
    modules = dict.fromkeys(result["module"] for result in results)
    for module in [*modules, ""]:
        outcomes = [result["outcome"] for result in results if module in ("", result["module"])]
        noticed, equivalent = sum(map(outcomes.count, ("killed", "timeout"))), outcomes.count("equivalent")
        number = len(outcomes) - equivalent
        if number:
            low, high = interval(noticed, number)
            share = f"{noticed / number:.0%} | {low:.0%} to {high:.0%}"
        else:
            share = " | "
        rows.append(f"| {module or 'all'} | {noticed} | {equivalent} | {number - noticed} | {share} |")
    return "\n".join(rows)


def interval(successes: int, number: int, z: float = 1.96) -> tuple[float, float]:
    share, spread = successes / number, z * z / number
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (share * (1 - share) / number + spread / number / 4) ** 0.5
    return centre - half, centre + half


if __name__ == "__main__":
    sys.exit(main())
