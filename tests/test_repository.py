"""What the repository promises about itself: the shipped checkpoint, the wheel, the card."""

import ast
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import entry_points

import pytest
import torch
from conftest import MINI, ROOT, tiny_tokenizer
from transformers import pipeline

import logmoe
from logmoe import LogMoEProcessor

# The files that travel with a checkpoint, in the order of the data.
ORDER = (
    "configuration sources reading columns rules masks masking terminal lines transports tables records unwrapping "
    "times severities headers grouping parsing templates services sequences folds habits surprise accepting saving "
    "keeping reference silences measuring rerun processing terms modeling judging predicting wording suspects "
    "statistics reasons weighing fitting kinds applying caching engine following scanning findings gathering "
    "publishing pipeline"
).split()
# The endpoint's file has the name that the Hub's toolkit looks for, and imports none of the others.
TRAVELS = [*(f"{name}_logmoe.py" for name in ORDER), "handler.py"]


def imported(path):
    """The files beside it that a module imports, wherever in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1}
    return [module.removesuffix("_logmoe") for module in modules - {"handler"}]


def test_each_file_that_travels_uses_only_those_before_it():
    """The data flow one way. One exception, explained at the foot of the modeling file: it reaches the pipeline."""
    assert sorted(TRAVELS) == sorted(path.name for path in (*ROOT.glob("*_logmoe.py"), ROOT / "handler.py"))
    assert not imported(ROOT / "handler.py")
    assert "from .handler import" in (ROOT / "publishing_logmoe.py").read_text()
    for place, name in enumerate(ORDER):
        later = set(imported(ROOT / f"{name}_logmoe.py")) - set(ORDER[:place])
        assert later == ({"pipeline"} if name == "modeling" else set()), f"{name}_logmoe.py imports {later}"


def test_the_modeling_file_reaches_every_file_that_travels():
    """A saved model takes along what the modeling file reaches, and nothing else."""
    reached, waiting = set(), ["modeling"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imported(ROOT / f"{name}_logmoe.py")
    assert reached == set(ORDER)


def test_importing_the_modeling_file_alone_makes_pipeline_know_the_task():
    """As when it came with a checkpoint: its last import registers the task."""
    code = (
        "import sys, types; package = types.ModuleType('anywhere'); package.__path__ = [sys.argv[1]];"
        "sys.modules['anywhere'] = package; import anywhere.modeling_logmoe;"
        "from transformers.pipelines import PIPELINE_REGISTRY as tasks; print(tasks.check_task('log-anomaly')[0])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True)
    assert done.stdout == "log-anomaly\n", done.stderr


@pytest.mark.parametrize("name", [name for name in ORDER if name != "modeling"])
def test_files_are_short_and_say_what_they_are_for(name):
    text = (ROOT / f"{name}_logmoe.py").read_text(encoding="utf-8")
    assert text.count("\n") <= 620
    assert len(ast.get_docstring(ast.parse(text)).split(".")) >= (2 if name == "configuration" else 3)


def test_shipped_checkpoint_is_complete_small_and_holds_the_roots_code():
    assert sum(path.stat().st_size for path in MINI.iterdir()) <= 40e6
    assert sorted(path.name for path in MINI.glob("*.py")) == sorted(TRAVELS)
    for name in TRAVELS:
        assert (MINI / name).read_text() == (ROOT / name).read_text(), f"{name} differs: run `make checkpoint-code`"


def test_shipped_checkpoint_loads_and_its_card_is_filled():
    pipe = pipeline("log-anomaly", model=str(MINI))
    assert pipe.model.config.routing_mode == "top_p"
    assert pipe.measures_surprise
    assert pipe.model.dtype == torch.float32
    card = (MINI / "README.md").read_text()
    assert "{{" not in card
    for source in ("all-MiniLM-L6-v2", "recordings", "Apache-2.0"):
        assert source in card


def test_shipped_checkpoint_reads_text_by_todays_rules():
    """Rules that change need `make train-default`: the checkpoint's own are what it was trained with."""
    rules = LogMoEProcessor.from_pretrained(MINI).rules()
    assert rules == LogMoEProcessor(tiny_tokenizer()).rules()


def test_exports():
    for name in logmoe.__all__:
        assert getattr(logmoe, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        logmoe.nothing  # noqa: B018


def test_wheel_holds_modules_and_checkpoint_and_works(tmp_path):
    """Made from the source distribution, which holds no test: what they import it has not."""
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    # A copy of what git tracks: building leaves folders behind.
    source = tmp_path / "source with space"
    source.mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in (name.decode() for name in files if name):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pack = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", pack, str(tmp_path)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (packed,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        assert not [name for name in archive.getnames() if "/tests" in name]
    done = subprocess.run([*build, str(packed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in [
        *TRAVELS,
        "__init__.py",
        "inference.py",
        "train.py",
        "findings.schema.json",
        "model_card.md",
        "py.typed",
        "training/sources.py",
    ]:
        assert f"logmoe/{name}" in names
    assert {f"logmoe/checkpoints/logmoe-mini/{path.name}" for path in MINI.iterdir()} <= set(names)
    assert not [name for name in names if "test" in name or "example" in name or "recording" in name]

    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    log = tmp_path / "server.log"
    log.write_text("2024-01-01 10:00:00 ERROR connection failed\n")
    judged = subprocess.run(
        [sys.executable, "-m", "logmoe_command", str(log), "--all"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
    )
    assert judged.returncode == 0, judged.stderr
    assert "server.log: " in judged.stdout
    assert " in 1 line; too short to have habits (1 entry): judged by its wording" in judged.stdout


def test_console_scripts():
    (script,) = entry_points(group="console_scripts", name="logmoe")
    assert script.load()(["--help"]) == 0
    (script,) = entry_points(group="console_scripts", name="logmoe-train")
    with pytest.raises(SystemExit) as end:
        script.load()(["--help"])
    assert end.value.code == 0
