"""CI: what the action and the GitLab job do, run as their runners would, against a forge on loopback."""

import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from conftest import ROOT
from test_docs import blocks
from test_reporting import MALICIOUS, NOTHING, ORDINARY, findings_of, log_summary, render

from logmoe_command import main

ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
GITLAB = yaml.safe_load((ROOT / "deploy" / "gitlab.yml").read_text(encoding="utf-8"))
PAGE = ROOT / "docs" / "ci.md"
TOKEN = "token-of-nobody"

specification = importlib.util.spec_from_file_location("ci", ROOT / "deploy" / "ci.py")
ci = importlib.util.module_from_spec(specification)
specification.loader.exec_module(ci)

# Stands for `logmoe`: notes how it was called, and gives out reports that were prepared.
STUB = """
import json, os, pathlib, shutil, sys
arguments = sys.argv[1:]
here = pathlib.Path(os.environ["STUB"])
with open(here / "calls", "a") as file:
    file.write(json.dumps([arguments, "LOGMOE_TOKEN" in os.environ]) + "\\n")
print("::add-mask::s3cret")
outputs = [arguments[place + 1] for place, word in enumerate(arguments) if word == "-o"]
if arguments[0] == "fit":
    if (here / "no-fit").exists():
        sys.exit(2)
    os.makedirs(outputs[0])
    pathlib.Path(outputs[0], "reference.json").write_text("{}")
elif arguments[0] == "accept":
    (here / "accepted").write_text("" if "--like" in arguments else sys.stdin.read())
    sys.exit(2 if (here / "no-accept").exists() else 0)
elif "--baseline" in arguments and (here / "refused").exists():
    sys.exit(2)
else:
    for path in outputs if (here / "report.md").exists() else ():
        shutil.copy(here / os.path.basename(path), path)
    sys.exit(2 if (here / "damaged").exists() else 0)
"""


class Forge:
    """Comments on one request, as GitHub and GitLab keep them; each entry has been asked of it."""

    def __init__(self, refuses=None, knows_me=False):
        self.comments, self.asked, self.refuses, self.knows_me = [], [], refuses, knows_me
        forge = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                data = json.loads(self.rfile.read(size)) if size else None
                code, said = forge.answer(self.command, urlsplit(self.path), data, self.headers)
                body = json.dumps(said).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, method, url, data, headers):
        given = headers.get("Authorization", headers.get("PRIVATE-TOKEN", ""))
        assert given in (f"Bearer {TOKEN}", TOKEN)
        self.asked.append((method, url.path))
        if url.path == "/user":
            return (200, {"login": "me", "id": 7}) if self.knows_me else (403, {})
        if self.refuses:
            return self.refuses, {}
        if method == "GET":
            page, size = (int(parse_qs(url.query)[name][0]) for name in ("page", "per_page"))
            return 200, self.comments[(page - 1) * size : page * size]
        if method == "POST":
            self.add(data["body"])
            return 201, self.comments[-1]
        (one,) = [said for said in self.comments if said["id"] == int(url.path.rsplit("/", 1)[1])]
        one["body"] = data["body"]
        return 200, one

    def add(self, body, kind="Bot", number=7):
        name = "me" if number == 7 else "somebody"
        user, author = {"type": kind, "login": name}, {"id": number}
        self.comments.append({"id": 1000 + len(self.comments), "body": body, "user": user, "author": author})


@pytest.fixture
def forge(request):
    forge = Forge(**getattr(request, "param", {}))
    yield forge
    forge.server.shutdown()
    forge.server.server_close()


def evaluated(value, inputs, contexts):
    """A value of action.yml, with the few expressions that it uses."""

    def of(match):
        expression = match[1].strip()
        return inputs[expression[7:]] if expression.startswith("inputs.") else contexts[expression]

    return re.sub(r"\$\{\{(.*?)\}\}", of, value)


class Runner:
    """A checkout, and what a runner sets up around the steps that run scripts.

    Attributes:
        done: of the last step.
    """

    def __init__(self, folder, forge):
        self.checkout, self.prepared, self.forge = folder / "checkout", folder / "prepared", forge
        tools = folder / "temp" / "logmoe" / "bin"
        for path in (self.checkout, self.prepared, tools):
            path.mkdir(parents=True)
        (tools / "python").symlink_to(sys.executable)
        (tools / "stub.py").write_text(STUB)
        # By a shell: the path of an interpreter behind #! cannot hold a space.
        (tools / "logmoe").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tools}/stub.py" "$@"\n')
        (tools / "logmoe").chmod(stat.S_IRWXU)
        self.folder, self.tools = folder, tools
        self.prepare(ORDINARY)

    def prepare(self, findings):
        for name, form in zip(ci.REPORTS, ("markdown", "html", "sarif", "junit", "jsonl"), strict=True):
            (self.prepared / name).write_text(render(findings, form), encoding="utf-8")

    def has(self, name):
        (self.prepared / name).touch()

    def calls(self):
        path = self.prepared / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def outputs(self):
        text = (self.folder / "output").read_text() if (self.folder / "output").exists() else ""
        return {name: value for name, _, value in re.findall(r"^([\w-]+)<<(\w+)\n(.*?)\n\2$", text, re.M | re.S)}

    def summary(self):
        return (self.folder / "summary").read_text(encoding="utf-8")

    def run(self, script, environment):
        own = {name: value for name, value in os.environ.items() if not re.match("GITHUB_|CI|LOGMOE_", name)}
        script = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
        self.done = subprocess.run(
            script,
            cwd=self.checkout,
            env=own | {"STUB": str(self.prepared)} | environment,
            capture_output=True,
            text=True,
        )
        return self.done.returncode

    def github(self, step, event="pull_request", ref="refs/pull/5/merge", status="success", **inputs):
        """Runs a step of action.yml by its id."""
        event_file = self.folder / "event.json"
        event_file.write_text(json.dumps({"pull_request": {"number": 5}} if event.startswith("pull") else {}))
        contexts = {
            "job.status": status,
            "github.token": TOKEN,
            "github.event.repository.default_branch": "main",
        }
        given = {name: evaluated(of.get("default", ""), {}, contexts) for name, of in ACTION["inputs"].items()}
        given |= {"log": "build/test.log"} | {name.replace("_", "-"): value for name, value in inputs.items()}
        assert given.keys() == ACTION["inputs"].keys()
        (of,) = [of for of in ACTION["runs"]["steps"] if of.get("id") == step]
        environment = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_API_URL": self.forge.url,
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(event_file),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_REF": ref,
            "GITHUB_REPOSITORY": "shop/web",
            "GITHUB_RUN_ID": "99",
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_SHA": "1a2b3c4d5e6f",
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "RUNNER_TEMP": str(self.folder / "temp"),
        }
        own = {name: evaluated(value, given, contexts) for name, value in of["env"].items()}
        return self.run(of["run"], environment | own)

    def gitlab(self, job, **environment):
        """Runs the script of a job of gitlab.yml."""
        variables = GITLAB[".logmoe"]["variables"] | {"LOGMOE_SOURCE": str(ROOT), "LOGMOE_LOG": "build/test.log"}
        of_runner = {
            "CI_API_V4_URL": self.forge.url,
            "CI_PROJECT_ID": "3",
            "CI_COMMIT_SHA": "1a2b3c4d5e6f",
            "CI_DEFAULT_BRANCH": "main",
            "CI_JOB_URL": "https://gitlab.example/job/1",
            "PATH": f"{self.tools}:{os.environ['PATH']}",
        }
        return self.run("\n".join(GITLAB[job]["script"]), variables | of_runner | environment)

    def keep_a_green_run(self):
        assert self.github("keep", "push", "refs/heads/main") == 0
        assert (self.checkout / "logmoe-ci/log/green/1a2b3c4/reference.json").exists()


@pytest.fixture
def runner(tmp_path, forge):
    return Runner(tmp_path, forge)


# ---------------------------------------------------------------------- on GitHub


def test_a_first_run_is_judged_by_itself_says_so_and_does_not_fail(runner):
    runner.prepare(findings_of(*ORDINARY, logs=(log_summary(mode="self", findings=2, familiarity=None),)))
    assert runner.github("judge", fail_on_finding="true", false_alarm_rate="0.001") == 0
    ((arguments, has_token),) = runner.calls()
    assert not {"--baseline", "--false-alarm-rate"} & set(arguments)
    assert not has_token
    assert runner.outputs() == {
        "findings": "2",
        "mode": "self",
        "sarif": "logmoe-ci/log/report.sarif",
        "folder": "logmoe-ci/log",
    }
    assert runner.summary().startswith(f"### LogMoE\n\n{ci.NO_GREEN_RUN}\n")
    assert ci.NO_GREEN_RUN in runner.forge.comments[0]["body"]
    # Unless it is asked to.
    assert runner.github("judge", fail_on_finding="always") == 1


def test_a_later_run_is_judged_against_the_green_one_and_may_fail(runner):
    runner.keep_a_green_run()
    assert runner.outputs() == {"kept": "true"}
    assert runner.github("judge", false_alarm_rate="0.001", options="--window-seconds 60") == 0
    arguments, _ = runner.calls()[-1]
    assert arguments[:4] == ["scan", "build/test.log", "--window-seconds", "60"]
    assert arguments[4:8] == ["--baseline", "logmoe-ci/log/green/1a2b3c4", "--false-alarm-rate", "0.001"]
    assert ci.NO_GREEN_RUN not in runner.summary()
    assert runner.github("judge", fail_on_finding="true") == 1
    runner.prepare(NOTHING)
    assert runner.github("judge", fail_on_finding="true") == 0


def test_it_keeps_one_comment_and_brings_it_up_to_date(runner):
    for _ in range(150):
        runner.forge.add("Looks good", "User", 1)
    runner.forge.add("<!-- logmoe: log -->\nnot ours", "User", 1)
    runner.forge.add("<!-- logmoe: log-2 -->\nof another log")
    others = [said["body"] for said in runner.forge.comments]
    runner.keep_a_green_run()
    runner.prepare(NOTHING)
    assert runner.github("judge") == 0
    assert len(runner.forge.comments) == len(others)  # nothing to say
    runner.prepare(ORDINARY)
    assert runner.github("judge") == 0
    assert "2 findings" in runner.forge.comments[-1]["body"]
    runner.prepare(NOTHING)
    assert runner.github("judge") == 0
    body = runner.forge.comments[-1]["body"]
    assert body.startswith("<!-- logmoe: log -->\n### LogMoE\n")
    assert "no findings" in body
    assert body.endswith(
        "commit 1a2b3c4, [this job, with the whole report](https://github.example/shop/web/actions/runs/99)\n"
    )
    assert [said["body"] for said in runner.forge.comments[:-1]] == others
    assert runner.forge.asked[-1] == ("PATCH", "/repos/shop/web/issues/comments/1152")


@pytest.mark.parametrize("forge", [{"refuses": 403}, {"refuses": 500}], indirect=True)
def test_a_comment_that_is_refused_fails_nothing(runner):
    assert runner.github("judge") == 0
    assert "::warning::LogMoE: cannot comment: " in runner.done.stdout
    assert runner.summary()
    assert TOKEN not in runner.done.stdout + runner.done.stderr


def test_no_comment_without_a_request_or_when_it_is_not_wanted(runner):
    assert runner.github("judge", "push", "refs/heads/main") == 0
    assert runner.github("judge", comment="false") == 0
    assert runner.github("judge", token="") == 0
    assert runner.forge.asked == []


def test_what_a_log_holds_commands_no_runner(runner):
    """Between the two markers the runner takes every line for text; nobody can guess the second one."""
    runner.prepare(MALICIOUS)
    assert runner.github("judge") == 0
    lines = runner.done.stdout.splitlines()
    stop = re.fullmatch("::stop-commands::([0-9a-f]{32})", lines[0])[1]
    assert lines[1] == "::add-mask::s3cret"
    assert lines[2] == f"::{stop}::"
    assert not [line for line in lines[3:] if line.startswith("::")]


def test_inputs_are_no_script(runner):
    hostile = "$(touch owned); `touch owned` \"; touch owned; '\n--output=owned"
    assert runner.github("judge", log=hostile, branch=hostile, token=hostile, comment="false") == 0
    arguments, _ = runner.calls()[-1]
    assert arguments[1:3] == [hostile.split("\n")[0], "./--output=owned"]
    assert not (runner.checkout / "owned").exists()
    assert runner.github("judge", name="../../up") == 2
    assert "::error::LogMoE: LOGMOE_NAME is '../../up'" in runner.done.stdout
    assert runner.github("judge", log=" \n ") == 2
    assert runner.github("judge", fail_on_finding="maybe") == 2


def test_absolute_paths_in_the_checkout_are_told_from_there(runner):
    assert runner.github("judge", log=f"{runner.checkout}/build/*.log\n/var/log/app.log") == 0
    assert runner.calls()[-1][0][1:3] == ["build/*.log", "/var/log/app.log"]


def test_a_reference_that_is_refused_is_done_without(runner):
    runner.keep_a_green_run()
    runner.has("refused")
    runner.prepare(findings_of(*ORDINARY, logs=(log_summary(mode="self", findings=2, familiarity=None),)))
    assert runner.github("judge", fail_on_finding="true") == 0
    assert ["--baseline" in arguments for arguments, _ in runner.calls()[1:]] == [True, False]
    assert "cannot be used by this LogMoE" in runner.summary()
    # One that the workflow names is its own to mend.
    assert runner.github("judge", baseline="good.log") == 2


def test_a_log_that_cannot_be_read_is_an_error(runner):
    runner.has("damaged")
    assert runner.github("judge") == 2
    assert runner.outputs()["findings"] == "2"  # of what could be read, which is told
    for name in ci.REPORTS:
        (runner.prepared / name).unlink()
    assert runner.github("judge") == 2
    assert not list((runner.checkout / "logmoe-ci/log").glob("report.*"))  # none of the run before is left


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "failure"},
        {"event": "pull_request"},
        {"event": "pull_request_target"},
        {"event": "workflow_run"},
        {"ref": "refs/heads/feature"},
        {"ref": "refs/tags/main"},
        {"baseline": "good.log"},
        {"branch": ""},
    ],
    ids=str,
)
def test_only_green_runs_of_the_branch_are_kept(runner, changed):
    assert runner.github("keep", **{"event": "push", "ref": "refs/heads/main"} | changed) == 0
    assert runner.done.stdout.startswith("not kept for later runs: ")
    assert runner.calls() == []
    assert runner.outputs() == {}


def test_what_was_accepted_in_a_green_run_goes_over_to_the_next(runner):
    runner.keep_a_green_run()
    assert [arguments[0] for arguments, _ in runner.calls()] == ["fit"]
    assert runner.github("keep", "push", "refs/heads/main") == 0
    green = "logmoe-ci/log/green"
    assert runner.calls()[-1][0] == ["accept", f"{green}.new/1a2b3c4", "--like", f"{green}/1a2b3c4"]
    runner.has("no-accept")
    assert runner.github("keep", "push", "refs/heads/main") == 0
    assert "::warning::LogMoE: what was accepted in the last green run is reported again" in runner.done.stdout
    # A job that keeps has the green run before at hand.
    assert GITLAB[".logmoe-keep"]["cache"]["policy"] == "pull-push"


def test_a_file_in_the_repository_says_what_is_fine_as_long_as_it_does(runner):
    runner.keep_a_green_run()
    fine = runner.checkout / ".logmoe-accepted.jsonl"
    fine.write_text('{"id": "0123456789ab", "masked": ["a"]}\n')
    green = "logmoe-ci/log/green"
    assert runner.github("judge") == 0
    assert runner.calls()[-2][0] == ["accept", f"{green}.accepted"]
    assert (runner.prepared / "accepted").read_text() == fine.read_text()
    assert f"{green}.accepted" in runner.calls()[-1][0]
    runner.has("no-accept")
    assert runner.github("judge") == 2
    assert "::error::LogMoE: .logmoe-accepted.jsonl cannot be accepted" in runner.done.stdout
    for nothing in ("\n", None):
        fine.unlink() if nothing is None else fine.write_text(nothing)
        assert runner.github("judge") == 0
        assert f"{green}/1a2b3c4" in runner.calls()[-1][0]


def test_a_run_that_cannot_be_learned_leaves_the_one_before(runner):
    runner.keep_a_green_run()
    runner.has("no-fit")
    assert runner.github("keep", "push", "refs/heads/main") == 0
    assert "::warning::LogMoE: this run is not kept" in runner.done.stdout
    assert (runner.checkout / "logmoe-ci/log/green/1a2b3c4/reference.json").exists()


def test_its_files_are_unseen_by_git(runner):
    subprocess.run(["git", "init", "--quiet", runner.checkout], check=True)
    runner.keep_a_green_run()
    assert runner.github("judge") == 0
    done = subprocess.run(["git", "status", "--porcelain"], cwd=runner.checkout, capture_output=True, text=True)
    assert done.stdout == ""


def test_a_comment_has_room_for_what_it_says():
    long = "### LogMoE\n" + "".join(f"\n**{number}. New** in `app.log`\n{'x' * 900}\n" for number in range(1, 100))
    short = ci.shortened(long)
    assert 50_000 < len(short) <= ci.LONGEST_COMMENT
    assert short.endswith("x\n\n\nThe rest is in the whole report.\n")
    assert len(ci.shortened("x" * 100_000)) <= ci.LONGEST_COMMENT
    assert ci.shortened("short\n") == "short\n"


# ---------------------------------------------------------------------- on GitLab


@pytest.mark.parametrize("forge", [{"knows_me": True}], indirect=True)
def test_on_gitlab(runner):
    assert runner.gitlab(".logmoe-keep", CI_COMMIT_BRANCH="feature") == 0
    assert runner.calls() == []
    assert runner.gitlab(".logmoe-keep", CI_COMMIT_BRANCH="main") == 0
    runner.forge.add("<!-- logmoe: log -->\nnot ours", number=1)
    request = {"CI_MERGE_REQUEST_IID": "4", "LOGMOE_TOKEN": TOKEN}
    for found, said in ((ORDINARY, "2 findings"), (NOTHING, "no findings")):
        runner.prepare(found)
        assert runner.gitlab(".logmoe", **request) == 0
        assert said in runner.forge.comments[1]["body"]
    assert "--baseline" in runner.calls()[-1][0]
    assert "::" not in runner.done.stdout.replace("::add-mask::s3cret", "")
    assert len(runner.forge.comments) == 2
    assert runner.forge.asked[-1] == ("PUT", "/projects/3/merge_requests/4/notes/1001")
    assert runner.gitlab(".logmoe", CI_MERGE_REQUEST_IID="4") == 0  # no token, no comment
    runner.prepare(ORDINARY)
    assert runner.gitlab(".logmoe", LOGMOE_FAIL_ON_FINDING="true") == 1


# ---------------------------------------------------------------------- with the command itself


def test_with_the_command_itself(runner, monkeypatch, capfd):
    """What is kept of a green run is what the next run is judged against. In this process, to load the model once."""
    shutil.copy(ROOT / "examples" / "apache-healthy.log", runner.checkout / "good.log")
    shutil.copy(ROOT / "examples" / "apache-faulty.log", runner.checkout / "today.log")
    monkeypatch.chdir(runner.checkout)
    monkeypatch.setattr(ci, "logmoe", main)
    for name in [name for name in os.environ if re.match("GITHUB_|CI|LOGMOE_", name)]:
        monkeypatch.delenv(name)
    for name, value in {"LOGMOE_LOG": "good.log", "CI_COMMIT_SHA": "1a2b3c4d", "CI_COMMIT_BRANCH": "main"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CI_DEFAULT_BRANCH", "main")
    assert ci.main("keep") == 0
    monkeypatch.setenv("LOGMOE_LOG", "today.log")
    monkeypatch.setenv("LOGMOE_FAIL_ON_FINDING", "true")
    assert ci.main("judge") == 1
    out, err = capfd.readouterr()
    assert "today.log: 3 findings" in out, err
    assert "judged against logmoe-ci/log/green/1a2b3c4 (2,000 healthy entries" in out
    reports = Path("logmoe-ci", "log")
    assert {path.name for path in reports.glob("report.*")} == set(ci.REPORTS)
    results = json.loads((reports / "report.sarif").read_text())["runs"][0]["results"]
    assert len(results) == 3
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "today.log"


# ---------------------------------------------------------------------- the files themselves


def test_scripts_are_written_once_and_get_values_by_environment_alone():
    steps = ACTION["runs"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]
    assert len(scripts) == 3
    assert not [script for script in scripts if "${{" in script]
    assert all(step.get("shell") == "bash" for step in steps if "run" in step)
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    settings = set(re.findall(r'setting\("(\w+)"', (ROOT / "deploy" / "ci.py").read_text(encoding="utf-8")))
    given = {name.removeprefix("LOGMOE_") for step in steps for name in step.get("env", {}) if name != "PYTHON"}
    assert given == settings
    assert {step["id"] for step in steps if "id" in step} >= set(re.findall(r"steps\.(\w+)\.", text))
    # What restores looks where what saves has put it.
    restore, save = (next(s for s in steps if f"cache/{what}" in s.get("uses", "")) for what in ("restore", "save"))
    assert all(restore["with"][name] == save["with"][name] for name in ("path", "key"))
    assert save["with"]["key"].startswith(restore["with"]["restore-keys"])


EXAMPLES = [code for _, code in blocks(PAGE, "yaml")]


def test_the_examples_use_inputs_and_jobs_that_there_are():
    workflow, pipeline = map(yaml.safe_load, EXAMPLES)
    steps = [step for job in workflow["jobs"].values() for step in job["steps"] if "logmoe" in step.get("uses", "")]
    assert steps
    for step in steps:
        assert set(step["with"]) <= set(ACTION["inputs"])
        assert step["if"] == "${{ !cancelled() }}"
    jobs = [of for of in pipeline.values() if isinstance(of, dict) and "extends" in of]
    assert {job["extends"] for job in jobs} == set(GITLAB)


def test_the_page_names_each_input_its_default_and_each_output():
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text, re.M)
    named = {name: default for row in rows for name, default in re.findall(r"`([\w-]+)`(?: \(`([^`]+)`\))?", row)}
    assert set(named) == set(ACTION["inputs"]) - {"job-status"}  # which nobody gives
    assert {name: of["default"] for name, of in ACTION["inputs"].items() if named.get(name)} == {
        name: default for name, default in named.items() if default
    }
    (outputs,) = re.findall(r"^Outputs: (.*),", text, re.M)
    assert set(re.findall(r"`(\w+)`", outputs)) == set(ACTION["outputs"])
    settings = re.findall(r'setting\("(\w+)"', (ROOT / "deploy" / "ci.py").read_text(encoding="utf-8"))
    jobs = {name for of in GITLAB.values() for name in of.get("variables", {})}
    script = (ROOT / "deploy" / "gitlab.yml").read_text(encoding="utf-8")
    known = {f"LOGMOE_{name}" for name in settings} | jobs | set(re.findall(r"\$\{?(LOGMOE_\w+)", script))
    assert set(re.findall(r"LOGMOE_\w+", text)) <= known


@pytest.mark.parametrize("schema", ["github-actions", "github-workflows", "gitlab-ci"])
def test_by_their_public_schemas(schema, tmp_path):
    pytest.importorskip("check_jsonschema", reason="no schemas: pip install check-jsonschema")
    for name, text in zip(("workflow.yml", "pipeline.yml"), EXAMPLES, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = {
        "github-actions": [ROOT / "action.yml"],
        "github-workflows": [tmp_path / "workflow.yml", *(ROOT / ".github" / "workflows").iterdir()],
        "gitlab-ci": [ROOT / "deploy" / "gitlab.yml", tmp_path / "pipeline.yml"],
    }[schema]
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
