"""Training as processes: killed and resumed, out of space, on several devices, published.

Most fork from a process that has imported everything; the undisturbed run, that all are held against, is `train.py` in
an interpreter of its own, and so are the runs that a launcher starts or that publish.
"""

import json
import os
import random
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT
from forking import train
from training_fixtures import TINY, make_encoder, make_logs, run, weights_of, write_jsonl

from hub_server import HubServer
from logmoe.training.run_folder import complete_checkpoints

# 133 training logs: an uneven last batch for one process and for two, in training and in measuring.
LOGS = make_logs(150) + make_logs(40)
LOGS[3], LOGS[10] = (LOGS[3][0] * 4, 1), (LOGS[10][0] * 3, 0)  # Longer than a sequence.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder, data, and the figures of an undisturbed run, shared by the tests."""
    folder = tmp_path_factory.mktemp("runs")
    make_encoder(folder / "encoder")
    write_jsonl(folder / "logs.jsonl", LOGS)
    return folder


def arguments(folder, name, *more):
    return [
        *f"--encoder {folder / 'encoder'} --train_file {folder / 'logs.jsonl'} --output_dir {folder / name}".split(),
        *f"--embedding_cache {folder / 'cache'} --split random --baselines false --report_to none".split(),
        *TINY,
        # A checkpoint every five steps, and the phases change at one of them: at step 15 of 51.
        *"--eval_strategy steps --save_strategy steps --save_steps 5 --dense_share 0.29".split(),
        *more,
    ]


@pytest.fixture(scope="module")
def undisturbed(folder):
    done = run(*arguments(folder, "undisturbed"))
    assert done.returncode == 0, done.stderr
    return weights_of(folder / "undisturbed")


def assert_equal(weights, others):
    assert weights.keys() == others.keys()
    assert not [name for name in weights if not torch.equal(weights[name], others[name])]


# ---------------------------------------------------------------------- interrupted


@pytest.mark.parametrize(
    "moment",
    [
        ".saving-20/optimizer.pt",  # In the midst of a save; the last complete one is where the phases change.
        ".saving_*",  # While the final checkpoint is written.
    ],
)
def test_a_killed_run_resumes_to_the_same_weights(folder, undisturbed, moment):
    out = folder / f"killed-{len(moment)}"
    killed = train(arguments(folder, out.name), kill_at=str(out / moment))
    assert killed.returncode == -signal.SIGKILL
    done = train(arguments(folder, out.name, "--resume"))
    assert done.returncode == 0, done.stderr
    assert "continuing from" in done.stderr
    assert_equal(weights_of(out), undisturbed)
    before = json.loads((folder / "undisturbed" / "results.json").read_text())
    assert json.loads((out / "results.json").read_text())["test"] == before["test"]


@pytest.mark.slow
def test_two_processes_killed_resume_to_the_same_weights(folder):
    small = ("--per_device_train_batch_size", "4", "--order_jitter", "2")
    done = train(arguments(folder, "two-undisturbed", *small), processes=2)
    assert done.returncode == 0, done.stderr
    out = folder / "two-killed"
    # In the midst of the second epoch, whose order must be found again.
    kill = ((out / "checkpoint-30").exists, signal.SIGKILL)
    train(arguments(folder, out.name, *small), processes=2, signal_when=kill)
    done = train(arguments(folder, out.name, *small, "--resume"), processes=2)
    assert done.returncode == 0, done.stderr
    assert "continuing from" in done.stderr
    assert_equal(weights_of(out), weights_of(folder / "two-undisturbed"))


def test_an_incomplete_checkpoint_is_not_resumed_from(folder, undisturbed):
    out = Path(shutil.copytree(folder / "undisturbed", folder / "incomplete"))
    newest = complete_checkpoints(out)[-1]
    (newest / "trainer_state.json").write_text('{"epoch": 2.')
    (newest / "model.safetensors").write_bytes(b"half a file")
    done = train(arguments(folder, out.name, "--resume"))
    assert done.returncode == 0, done.stderr
    assert f"continuing from {complete_checkpoints(out)[-2]}" in done.stderr
    assert_equal(weights_of(out), undisturbed)


def test_a_run_resumes_from_a_given_checkpoint(folder, undisturbed):
    out = Path(shutil.copytree(folder / "undisturbed", folder / "given"))
    given, last = complete_checkpoints(out)[0], complete_checkpoints(out)[-1]
    assert given != last
    done = train(arguments(folder, out.name, "--resume_from_checkpoint", str(given)))
    assert done.returncode == 0, done.stderr
    assert f"continuing from {given}" in done.stderr
    assert_equal(weights_of(out), undisturbed)
    # Another run's checkpoint, and half a checkpoint, are refused; nothing is touched.
    elsewhere = complete_checkpoints(folder / "undisturbed")[-1]
    (out / "checkpoint-1").mkdir()
    for path in (elsewhere, out / "checkpoint-1", out):
        done = train(arguments(folder, out.name, "--resume_from_checkpoint", str(path)))
        assert done.returncode == 2
        assert f"{path} is not a complete checkpoint in `--output_dir` {out}" in done.stderr
        assert str(complete_checkpoints(out)[-1]) in done.stderr
    assert_equal(weights_of(out), undisturbed)


def test_sigterm_saves_and_exits(folder, undisturbed):
    out = folder / "terminated"
    stopped = train(arguments(folder, out.name), signal_when=((out / "checkpoint-5").exists, signal.SIGTERM))
    assert stopped.returncode == 143
    last = complete_checkpoints(out)[-1]
    assert f"stopped by SIGTERM, saved {last}: continue with `--resume`" in stopped.stderr
    assert not (out / "model.safetensors").exists()
    done = train(arguments(folder, out.name, "--resume"))
    assert done.returncode == 0, done.stderr
    assert_equal(weights_of(out), undisturbed)


@pytest.mark.parametrize("strategy", [pytest.param("epoch", marks=pytest.mark.slow), "steps"])
def test_stopped_at_any_step_it_ends_with_the_same_weights(folder, strategy):
    """In the midst of an epoch, at its end, at a step that is saved anyhow: nothing moves the random state on."""
    more = f"--eval_strategy {strategy} --save_strategy {strategy} --load_best_model_at_end false".split()
    done = train(arguments(folder, f"through-{strategy}", *more))
    assert done.returncode == 0, done.stderr
    out = folder / f"stopped-{strategy}"
    resume: list[str] = []
    for name, step in (("SIGTERM", 3), ("SIGINT", 17), ("SIGTERM", 20), ("SIGINT", 33), ("SIGTERM", 50)):
        stop = {"STOP_AT": f"{name}:{step}"}
        stopped = train(arguments(folder, out.name, *more, *resume), program="stopping", env=stop)
        assert stopped.returncode == 128 + signal.Signals[name], stopped.stderr
        saved = f"stopped by {name}, saved {out / f'checkpoint-{step}'}: continue with `--resume`.\n"
        assert stopped.stderr.endswith(saved)
        resume = ["--resume"]
    done = train(arguments(folder, out.name, *more, *resume))
    assert done.returncode == 0, done.stderr
    assert_equal(weights_of(out), weights_of(folder / f"through-{strategy}"))


class Disturbance:
    """Stops a run at a random moment in a random way."""

    KINDS = ("SIGTERM", "SIGINT", "SIGKILL", "SIGTERM SIGTERM", "SIGINT SIGINT", "SIGTERM SIGKILL", "full disk")

    def __init__(self, drawn: random.Random, seconds: float):
        self.kind = drawn.choice(self.KINDS)
        self.at = time.monotonic() + drawn.uniform(0, seconds)
        self.pause = drawn.choice((0.0, 0.01, 0.1, 1.0))
        self.bytes = drawn.randrange(8_000, 120_000)  # The largest file has 160,000.
        self.left = self.kind.split() if self.kind.startswith("SIG") else [self.kind]

    def __call__(self, process: int) -> None:
        if self.left and time.monotonic() >= self.at:
            name, self.at = self.left.pop(0), self.at + self.pause
            if name.startswith("SIG"):
                os.kill(process, signal.Signals[name])
            else:  # No file may grow beyond that from now on.
                resource.prlimit(process, resource.RLIMIT_FSIZE, (self.bytes, self.bytes))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_stopped_at_random_moments_it_ends_with_the_same_weights(folder, capsys):
    """As often as MOMENTS says: run after run, each stopped and resumed until it comes to its end.

    What comes too late to end a run, or a disk that has room for all that it still writes, does not count.
    """
    seed = int(os.environ.get("SEED", random.SystemRandom().getrandbits(32)))
    drawn, moments, ends = random.Random(seed), int(os.environ.get("MOMENTS", 10)), Counter()
    words = "--load_best_model_at_end false --save_total_limit 2".split()
    done = train(arguments(folder, "whole", *words))
    assert done.returncode == 0, done.stderr
    began = time.monotonic()
    assert train(arguments(folder, "timed", *words)).returncode == 0
    seconds, number = time.monotonic() - began, 0
    while ends.total() < moments:
        number += 1
        out = folder / f"disturbed-{number}"
        run = arguments(folder, out.name, *words, "--embedding_cache", str(folder / f"cache-{number}"), "--resume")
        stops = []
        while True:
            disturbance = Disturbance(drawn, seconds) if ends.total() < moments else None
            done = train(run, watch=disturbance)
            if disturbance is None or disturbance.left == disturbance.kind.split():
                break  # It came to its end before that.
            stops.append((disturbance.kind, done.returncode))
            ends[stops[-1]] += int(done.returncode != 0)
            known = {"SIGTERM": (143, -15), "SIGINT": (130, -2), "SIGKILL": (-9,)}
            allowed = {0} | {code for name in disturbance.kind.split() for code in known.get(name, (2,))}
            assert done.returncode in allowed, (seed, stops, done.stderr)
            assert "Traceback" not in done.stderr or not (out / "arguments.json").exists(), (seed, stops, done.stderr)
            if done.returncode == 0:
                break
        assert done.returncode == 0, (seed, stops, done.stderr)
        assert_equal(weights_of(out), weights_of(folder / "whole"))
        shutil.rmtree(out)
        with capsys.disabled():
            print(f"\nseed {seed}, {ends.total()} stops: {stops}", flush=True)
    with capsys.disabled():
        print(sorted(ends.items()))


def test_a_full_disk_stops_with_an_error_and_harms_nothing(folder, undisturbed):
    out = folder / "full"
    stop = ((out / "checkpoint-5" / "trainer_state.json").exists, signal.SIGTERM)
    assert train(arguments(folder, out.name), signal_when=stop).returncode == 143
    good = complete_checkpoints(out)[-1]
    weights = weights_of(good)
    # Writing fails in the midst of a file, as on a full disk.
    done = train(arguments(folder, out.name, "--resume"), max_file_bytes=60_000)
    assert done.returncode == 2
    assert "cannot save" in done.stderr
    assert f"{good} is complete: make room, then continue with `--resume`" in done.stderr
    assert "Traceback" not in done.stderr
    assert complete_checkpoints(out)[-1] == good
    assert_equal(weights_of(good), weights)
    done = train(arguments(folder, out.name, "--resume"))
    assert done.returncode == 0, done.stderr
    assert_equal(weights_of(out), undisturbed)


def test_an_unwritable_folder_is_an_error(folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = train(arguments(folder, str(tmp_path / "file" / "out")))
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "file/out" in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------------- many devices

EXACT = (
    "--hidden_dropout_prob 0 --attention_probs_dropout_prob 0 --router_top_p 0.5 --router_z_loss_coef 0.01"
    " --load_balance_loss_coef 0.1 --router_entropy_loss_coef 0.01 --per_device_eval_batch_size 8"
    " --eval_strategy epoch --save_strategy epoch --learning_rate 1e-3"
).split()
# Seen: 1.1e-5 with the encoder frozen, 8e-6 with it trained, for weights up to about 1 after 51 steps.
WEIGHT_TOLERANCE, LOSS_TOLERANCE = 1e-4, 1e-5
# What they add to the scores of a query is the same for all keys and cancels in the softmax: their gradient is nothing
# but rounding, of which Adam makes steps of any size.
WITHOUT_EFFECT = ("k_proj.bias", "attention.self.key.bias")


def history(out, *names):
    rows = json.loads((out / "trainer_state.json").read_text())["log_history"]
    return [[row[name] for name in names if name in row] for row in rows]


def assert_like_one_process(one, several):
    names = ("loss", "eval_loss", "load_balance_loss", "router_entropy_loss", "router_z_loss", "mean_active_experts")
    for row, other in zip(history(one, *names), history(several, *names), strict=True):
        assert other == pytest.approx(row, abs=LOSS_TOLERANCE)
    assert min(row[-1] for row in history(one, "mean_active_experts") if row) < 4  # The routers do route.
    weights, others = weights_of(one), weights_of(several)
    assert weights.keys() == others.keys()
    compared = [name for name in weights if not name.endswith(WITHOUT_EFFECT)]
    assert len(compared) > len(weights) - 6
    for name in compared:
        torch.testing.assert_close(others[name], weights[name], atol=WEIGHT_TOLERANCE, rtol=0)
    before, after = (json.loads((out / "results.json").read_text())["test"] for out in (one, several))
    assert after["all"] == pytest.approx(before["all"], abs=1e-3)


@pytest.mark.parametrize("encoder", [pytest.param("frozen", marks=pytest.mark.slow), "trained"])
def test_two_processes_are_like_one_with_the_same_global_batch(folder, encoder):
    more = [*EXACT, *(["--train_encoder"] if encoder == "trained" else [])]
    one, two = folder / f"one-{encoder}", folder / f"two-{encoder}"
    done = train(arguments(folder, one.name, *more))
    assert done.returncode == 0, done.stderr
    assert "1 process(es)" in done.stderr
    done = train(arguments(folder, two.name, *more, "--per_device_train_batch_size", "4"), processes=2)
    assert done.returncode == 0, done.stderr
    assert "2 process(es), MULTI_CPU" in done.stderr
    assert_like_one_process(one, two)
    # Rank 0 alone prints.
    assert done.stdout.count("| LogMoE (test) |") == 1
    assert done.stderr.count("saved in") == 1


def accelerate_environment(path: Path) -> dict[str, str]:
    """What `accelerate launch` hands to its processes for the FSDP part of a configuration file."""
    names = {"fsdp_transformer_layer_cls_to_wrap": "FSDP_TRANSFORMER_CLS_TO_WRAP"}
    settings = yaml.safe_load(path.read_text())["fsdp_config"]
    return {"ACCELERATE_USE_FSDP": "true"} | {
        names.get(name, name.upper()): str(value) for name, value in settings.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["frozen", "trained"])
def test_fsdp_is_like_one_process(folder, encoder):
    more = [*EXACT, *(["--train_encoder"] if encoder == "trained" else [])]
    one, sharded = folder / f"one-{encoder}", folder / f"sharded-{encoder}"
    if not (one / "results.json").exists():
        done = train(arguments(folder, one.name, *more))
        assert done.returncode == 0, done.stderr
    flags = arguments(folder, sharded.name, *more, "--per_device_train_batch_size", "4")
    environment = accelerate_environment(ROOT / "examples" / "accelerate" / "fsdp.yaml")
    done = train(flags, program="fsdp_on_cpu", env=environment, processes=2)
    assert done.returncode == 0, done.stderr
    assert "2 process(es), FSDP" in done.stderr
    assert_like_one_process(one, sharded)


def test_accelerate_launches_two_processes(folder, tmp_path):
    settings = yaml.safe_load((ROOT / "examples" / "accelerate" / "ddp.yaml").read_text())
    settings |= {"num_machines": 1, "num_processes": 2, "mixed_precision": "no", "main_process_port": 0}
    (tmp_path / "ddp.yaml").write_text(yaml.safe_dump(settings))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "ddp.yaml")),
            *("-m", "logmoe.train", *arguments(folder, "launched", "--num_train_epochs", "1")),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "2 process(es), MULTI_CPU" in done.stderr
    assert (folder / "launched" / "model.safetensors").exists()


def on_two_nodes(command, cwd, environment):
    """Starts a launcher as on each of two nodes, here both on this machine; returns what the first one says."""
    nodes = [
        subprocess.Popen(
            [sys.executable, *command(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"} | environment,
            cwd=cwd,
        )
        for rank in (0, 1)
    ]
    said = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(said)
    return said[0]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_nodes_are_like_one_process(folder, tmp_path, strategy, launcher):
    """The commands of docs/training.md, with one process on each node."""
    more = [*EXACT, "--train_encoder"]
    one, two = folder / "one-trained", folder / f"nodes-{strategy}-{launcher}"
    if not (one / "results.json").exists():
        done = train(arguments(folder, one.name, *more))
        assert done.returncode == 0, done.stderr
    flags = arguments(folder, two.name, *more, "--per_device_train_batch_size", "4")
    program = ROOT / "tests" / "fsdp_on_cpu.py" if strategy == "fsdp" else ROOT / "train.py"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    config = ROOT / "examples" / "accelerate" / f"{strategy}.yaml"
    environment = {}
    if launcher == "torchrun":
        if strategy == "fsdp":
            environment = accelerate_environment(config)

        def command(rank):
            nodes = ("--nnodes", "2", "--node_rank", str(rank), "--nproc_per_node", "1")
            at = ("--master_addr", "127.0.0.1", "--master_port", port)
            return ["-m", "torch.distributed.run", *nodes, *at, str(program), *flags]
    else:
        settings = yaml.safe_load(config.read_text()) | {"num_processes": 2, "mixed_precision": "no"}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))

        def command(rank):
            node = ("--machine_rank", str(rank), "--main_process_ip", "127.0.0.1", "--main_process_port", port)
            launch = ("-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "config.yaml"))
            return [*launch, *node, str(program), *flags]

    said = on_two_nodes(command, tmp_path, environment)
    assert f"2 process(es), {'FSDP' if strategy == 'fsdp' else 'MULTI_CPU'}" in said
    assert_like_one_process(one, two)


@pytest.mark.slow
def test_the_launcher_fails_where_training_fails(folder, tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "-m", "logmoe.train"]
    failing = [*arguments(folder, "never"), "--encoder", str(tmp_path / "nowhere")]
    done = subprocess.run([*command, *failing], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "nowhere" in done.stderr


@pytest.mark.parametrize("name", ["ddp", "fsdp", "deepspeed"])
def test_accelerate_understands_its_files(name):
    from accelerate.commands.config.config_args import ClusterConfig

    config = ClusterConfig.from_yaml_file(ROOT / "examples" / "accelerate" / f"{name}.yaml")
    assert (config.num_machines, config.num_processes) == (2, 16)


# ---------------------------------------------------------------------- published


@pytest.fixture(scope="module")
def pushes(folder, tmp_path_factory):
    """Two trainings that push, in one interpreter: the Hub refuses the first, and takes the second."""
    home = tmp_path_factory.mktemp("home")
    push = ("--push_to_hub", "--hub_model_id", "org/logmoe", "--num_train_epochs", "1")
    trainings = [arguments(folder, name, *push) for name in ("unpublished", "published")]
    code = "import json, sys; from logmoe.train import main; print([main(a) for a in json.loads(sys.argv[1])])"
    with HubServer(fail_commits=1) as hub:
        environment = hub.env(home) | {"HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code, json.dumps(trainings)]
        yield hub, environment, subprocess.run(command, capture_output=True, text=True, env=environment)


def test_push_and_load_from_the_hub(folder, pushes, tmp_path):
    hub, environment, done = pushes
    assert done.stdout.splitlines()[-1] == "[2, 0]", done.stderr
    files = hub.files("org/logmoe")
    assert {"README.md", "config.json", "model.safetensors", "modeling_logmoe.py", "training.png"} <= set(files)
    assert {"handler.py", "requirements.txt"} <= set(files)
    assert 'model="org/logmoe"' in files["README.md"].decode()
    assert not [name for name in files if name.startswith(("checkpoint-", "optimizer", "arguments"))]
    code = (
        "from transformers import pipeline\n"
        "pipe = pipeline('log-anomaly', model='org/logmoe', trust_remote_code=True)\n"
        "print(pipe('info a\\nfatal e')['probabilities']['anomaly'], pipe.model.config.anomaly_threshold)"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert fresh.returncode == 0, fresh.stderr
    _, threshold = map(float, fresh.stdout.split())
    assert threshold == json.loads((folder / "published" / "results.json").read_text())["threshold"]


def test_a_failed_push_leaves_the_checkpoint_and_says_how_to_push_again(folder, pushes, tmp_path):
    *_, done = pushes
    assert done.stdout.splitlines()[-1].startswith("[2, ")
    again = next(line.strip() for line in done.stderr.splitlines() if line.strip().startswith("hf upload"))
    assert str(folder / "unpublished") in again
    assert "Traceback" not in done.stderr
    assert weights_of(folder / "unpublished")
    with HubServer() as hub:  # The command that it names works.
        environment = hub.env(tmp_path)
        subprocess.run([str(Path(sys.executable).parent / "hf"), "repos", "create", "org/logmoe"], env=environment)
        words = [str(Path(sys.executable).parent / "hf"), *shlex.split(again)[1:]]
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert {"model.safetensors", "README.md"} <= set(hub.files("org/logmoe"))
        assert not [name for name in hub.files("org/logmoe") if "checkpoint-" in name]
