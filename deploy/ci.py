"""A CI job's log in, an answer where its people look: what `action.yml` and `deploy/gitlab.yml` run.

    python deploy/ci.py judge    judges the log against the last green run's, writes reports, comments on the request
    python deploy/ci.py keep     keeps what this run looks like, if it is a green one of the default branch

All that it is told comes in environment variables: a workflow never writes a value into a shell command, where it
could become a command itself. Needs the standard library, and the command `logmoe` beside its Python.

    LOGMOE_LOG               files or patterns, one per line
    LOGMOE_BASELINE          a healthy log or a reference to judge against, instead of the last green run
    LOGMOE_NAME              tells several logs of one repository apart (log)
    LOGMOE_FAIL_ON_FINDING   false; true: a finding fails the job, if there was a green run to judge against; always
    LOGMOE_FALSE_ALARM_RATE  as `logmoe --false-alarm-rate`
    LOGMOE_OPTIONS           how the log is read and cut, for `logmoe` and `logmoe fit`
    LOGMOE_ACCEPTED          a file of findings that are fine, as the page collects them; it may not be there yet
    LOGMOE_COMMENT           true: comment on the pull or merge request; LOGMOE_TOKEN: who may
    LOGMOE_JOB_STATUS, LOGMOE_BRANCH   on GitHub: how the job stands, and the branch whose green runs are kept
"""

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

FOLDER = Path("logmoe-ci")
REPORTS = ("report.md", "report.html", "report.sarif", "report.xml", "report.jsonl")
# A comment on GitHub holds 65,536 characters.
LONGEST_COMMENT = 60_000
# Of a request; more than anybody writes, and an end for a server that has none.
PAGE, PAGES = 100, 100
PATIENCE = 30.0  # seconds
# Events that run what is on a branch. Those of pull requests may run, with the branch's rights, what anybody wrote.
OWN_EVENTS = ("push", "schedule", "workflow_dispatch")
NO_GREEN_RUN = "No green run was kept yet, so this log had nothing to be judged against."


def main(what: str) -> int:
    """Judges, or keeps.

    Returns:
        0; 1 if a finding is to fail the job; 2 for an error, or a log that could not be read.
    """
    try:
        if what == "judge":
            return judge()
        if what == "keep":
            return keep()
        raise ValueError(f"ci.py does 'judge' or 'keep', not {what!r}")
    except (OSError, ValueError) as error:
        say("error", str(error))
        return 2


def setting(name: str, default: str = "") -> str:
    return os.environ.get(f"LOGMOE_{name}", "").strip() or default


def folder() -> Path:
    """Where reports and the last green run lie: in the checkout, for caches want that, yet unseen by git."""
    name = setting("NAME", "log")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}", name):
        raise ValueError(f"LOGMOE_NAME is {name!r}: use up to 60 letters, digits, dots, dashes and underscores")
    path = FOLDER / name
    path.mkdir(parents=True, exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n", encoding="utf-8")
    return path


# ---------------------------------------------------------------------- judge


def judge() -> int:
    """Judges the log, and tells whoever wants to know."""
    asked = setting("FAIL_ON_FINDING", "false").lower()
    if asked not in ("false", "true", "always"):
        raise ValueError(f"LOGMOE_FAIL_ON_FINDING is {asked!r}: use false, true or always")
    where, given = logs(), setting("BASELINE")
    into = folder()
    green = None if given else green_run(into)
    code, note = run_judge(where, given or (green and with_accepted(green, into)), into), None
    if code == 2 and green and not (into / "report.jsonl").exists():
        # A newer LogMoE may read text in another way, and refuses the reference; the log itself can still be judged.
        say("warning", f"{green} cannot be judged against, as said above: this log is judged without it.")
        code, green = run_judge(where, None, into), None
        note = "The last green run that was kept cannot be used by this LogMoE; the next one replaces it."
    elif not (given or green):
        note = NO_GREEN_RUN
    seen = summary(into)
    if seen is None:
        return 2
    text = told(into, note)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        append(path, text)
    mode, found = seen["mode"] or "", seen["findings"]
    output(findings=str(found), mode=mode, sarif=str(into / "report.sarif"), folder=str(into))
    if setting("COMMENT", "false").lower() == "true":
        comment(text, found)
    if code == 2:
        return 2
    return int(found > 0 and (asked == "always" or (asked == "true" and mode == "reference")))


def logs() -> list[str]:
    """The logs, relative to the checkout where they lie in it: what is shown to people then has no machine's paths."""
    given = [line.strip() for line in setting("LOG").splitlines() if line.strip()]
    if not given:
        raise ValueError("LOGMOE_LOG is empty: name the log to judge")
    here = os.getcwd() + os.sep
    given = [log.removeprefix(here) for log in given]
    return [f"./{log}" if log.startswith("-") else log for log in given]


def green_run(into: Path) -> str | None:
    """The reference of the last green run; None if there is none."""
    kept = sorted((into / "green").glob("*/reference.json"), key=os.path.getmtime)
    return str(kept[-1].parent) if kept else None


def with_accepted(green: str, into: Path) -> str:
    """The last green run, in which the findings of a file are accepted: a copy, so that what leaves the file goes."""
    listed = Path(setting("ACCEPTED"))  # if none is named, this is a folder
    if not (listed.is_file() and listed.read_bytes().strip()):
        return green
    copy = into / "green.accepted"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(green, copy)
    if logmoe(["accept", str(copy)], listed):
        raise ValueError(f"{listed} cannot be accepted, as said above: it holds the lines that the page collects")
    return str(copy)


def run_judge(where: list[str], baseline: str | None, into: Path) -> int:
    for name in REPORTS:
        (into / name).unlink(missing_ok=True)
    arguments = ["scan", *where, *shlex.split(setting("OPTIONS"))]
    if baseline:
        arguments += ["--baseline", baseline]
        if rate := setting("FALSE_ALARM_RATE"):
            arguments += ["--false-alarm-rate", rate]
    for name in REPORTS:
        arguments += ["-o", str(into / name)]
    return logmoe(arguments)


def logmoe(arguments: list[str], reads: Path | None = None) -> int:
    """Runs the command, on a file as its input if one is given; what it prints goes to the job's log."""
    command = shutil.which("logmoe", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    if command is None:
        raise FileNotFoundError("the command `logmoe` is not installed: pip install '.[report]'")
    environment = {name: value for name, value in os.environ.items() if name != "LOGMOE_TOKEN"}
    given = None if reads is None else reads.read_bytes()
    done = subprocess.run(
        [command, *arguments], input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    # GitHub's runner obeys lines such as "::add-mask::…", which a log may hold too, until it is told to stop.
    token = secrets.token_hex(16)
    if on_github():
        print(f"::stop-commands::{token}", flush=True)
    print(done.stdout.decode("utf-8", "replace").rstrip("\n"), flush=True)
    if on_github():
        print(f"::{token}::", flush=True)
    return done.returncode


def summary(into: Path) -> dict[str, Any] | None:
    """What was seen; None if nothing was judged at all."""
    path = into / "report.jsonl"
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def told(into: Path, note: str | None) -> str:
    """The report in Markdown, with what CI knows."""
    text = (into / "report.md").read_text(encoding="utf-8")
    if note:
        heading, _, rest = text.partition("\n")
        text = f"{heading}\n\n{note}\n{rest}"
    commit, job = commit_of(), job_url()
    ending = [f"commit {commit}" if commit else "", f"[this job, with the whole report]({job})" if job else ""]
    return "\n".join([shortened(text).rstrip("\n"), "", ", ".join(filter(None, ending))]).rstrip("\n") + "\n"


def shortened(text: str) -> str:
    """As many findings as a comment has room for."""
    if len(text) <= LONGEST_COMMENT:
        return text
    parts, room = re.split(r"\n(?=\*\*\d+\. )", text), LONGEST_COMMENT - 100
    kept = parts[0][:room]
    for part in parts[1:]:
        if len(kept) + len(part) > room:
            break
        kept += "\n" + part
    return f"{kept}\n\nThe rest is in the whole report.\n"


# ---------------------------------------------------------------------- keep


def keep() -> int:
    """Makes this run's log the one that later runs are judged against, if it is to be."""
    if reason := not_to_keep():
        print(f"not kept for later runs: {reason}")
        return 0
    where, into = logs(), folder()
    fresh, green = into / "green.new", into / "green"
    shutil.rmtree(fresh, ignore_errors=True)
    made = fresh / (commit_of() or "last")
    code = logmoe(["fit", *where, *shlex.split(setting("OPTIONS")), "-o", str(made)])
    if code:
        say("warning", "this run is not kept for later runs, as said above; the one before stays")
        return 0
    before = green_run(into)
    if before and logmoe(["accept", str(made), "--like", before]):
        say("warning", "what was accepted in the last green run is reported again, as said above")
    shutil.rmtree(green, ignore_errors=True)
    fresh.rename(green)
    output(kept="true")
    return 0


def not_to_keep() -> str | None:
    """Why this run is none that others are judged against; None if it is one."""
    if not on_github():
        ours, default = os.environ.get("CI_COMMIT_BRANCH"), os.environ.get("CI_DEFAULT_BRANCH")
        return None if ours and ours == default else f"it is not of the default branch, {default}"
    if setting("BASELINE"):
        return "a baseline is given"
    if (status := setting("JOB_STATUS")) != "success":
        return f"the job's status is {status or 'unknown'}"
    event, ref, branch = os.environ.get("GITHUB_EVENT_NAME"), os.environ.get("GITHUB_REF"), setting("BRANCH")
    if event not in OWN_EVENTS:
        return f"it was started by {event}, not by {', '.join(OWN_EVENTS)}"
    return None if branch and ref == f"refs/heads/{branch}" else f"it is of {ref}, not of {branch or 'a known branch'}"


# ---------------------------------------------------------------------- where it runs


def on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def commit_of() -> str:
    return os.environ.get("GITHUB_SHA" if on_github() else "CI_COMMIT_SHA", "")[:7]


def job_url() -> str | None:
    of = os.environ
    if not on_github():
        return of.get("CI_JOB_URL")
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    return "{}/{}/actions/runs/{}".format(*map(of.get, names)) if all(map(of.get, names)) else None


def say(level: str, text: str) -> None:
    """A warning or an error, which GitHub shows on the run's page."""
    if on_github():
        text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        print(f"::{level}::LogMoE: {text}", flush=True)
    else:
        print(f"{level}: {text}", file=sys.stderr, flush=True)


def output(**values: str) -> None:
    """Outputs of the step; nobody can guess the delimiter, so no value can add one of its own."""
    if path := os.environ.get("GITHUB_OUTPUT"):
        for name, value in values.items():
            delimiter = secrets.token_hex(16)
            append(path, f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def append(path: str, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


# ---------------------------------------------------------------------- the comment


def comment(text: str, found: int) -> None:
    """Comments on the pull or merge request, or brings the comment of an earlier run up to date.

    A request without findings is left in peace, unless an earlier run had some. A job never fails by its comment.
    """
    place = github_comments() if on_github() else gitlab_comments()
    if place is None:
        return
    api, path, one, update, author = place
    body = f"<!-- logmoe: {setting('NAME', 'log')} -->\n{text}"
    try:
        me = api.whoami()
        ours = [said for said in api.all(path) if author(said, me) and said["body"].startswith(body.split("\n")[0])]
        if ours:
            api.call(update, one.format(ours[0]["id"]), {"body": body})
        elif found:
            api.call("POST", path, {"body": body})
    except (OSError, ValueError, LookupError, TypeError) as error:
        why = f"{error.code} {error.reason}" if isinstance(error, HTTPError) else str(error)
        if isinstance(error, HTTPError) and error.code in (401, 403, 404):
            why += "; may the token write on requests? That of a fork's pull request may not"
        say("warning", f"cannot comment: {why}")


def github_comments() -> tuple | None:
    """Where the comments of this run's pull request are; None if it is of none, or nobody may comment."""
    path, token = os.environ.get("GITHUB_EVENT_PATH"), setting("TOKEN")
    event = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    number = (event.get("pull_request") or {}).get("number")
    if not number or not token:
        return None
    api = Api(
        os.environ.get("GITHUB_API_URL", "https://api.github.com"),
        {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"},
    )
    issues = f"/repos/{quote(os.environ.get('GITHUB_REPOSITORY', ''))}/issues"

    def is_ours(said: dict[str, Any], me: dict[str, Any] | None) -> bool:
        # A workflow's own token cannot ask who it is; no person can look like a bot.
        return said["user"]["login"] == me["login"] if me else said["user"]["type"] == "Bot"

    return api, f"{issues}/{int(number)}/comments", f"{issues}/comments/{{}}", "PATCH", is_ours


def gitlab_comments() -> tuple | None:
    """The same of a merge request on GitLab."""
    request, token = os.environ.get("CI_MERGE_REQUEST_IID"), setting("TOKEN")
    if not request or not token:
        return None
    api = Api(os.environ["CI_API_V4_URL"], {"PRIVATE-TOKEN": token})
    notes = f"/projects/{int(os.environ['CI_PROJECT_ID'])}/merge_requests/{int(request)}/notes"

    def is_ours(said: dict[str, Any], me: dict[str, Any] | None) -> bool:
        return me is not None and said["author"]["id"] == me["id"]

    return api, notes, notes + "/{}", "PUT", is_ours


class Api:
    """The few calls to a forge that a comment takes.

    Args:
        base: address of the interface.
        headers: of each request; kept from other servers, should it send us there.
    """

    def __init__(self, base: str, headers: dict[str, str]):
        self.base, self.headers = base.rstrip("/"), headers

    def call(self, method: str, path: str, data: dict[str, Any] | None = None) -> Any:
        request = Request(
            self.base + path,
            None if data is None else json.dumps(data).encode(),
            {"Content-Type": "application/json", "User-Agent": "logmoe"},
            method=method,
        )
        for name, value in self.headers.items():
            request.add_unredirected_header(name, value)
        with urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def all(self, path: str) -> Iterator[dict[str, Any]]:
        """All of a list that comes in pages."""
        for page in range(1, PAGES + 1):
            some = self.call("GET", f"{path}?per_page={PAGE}&page={page}")
            yield from some
            if len(some) < PAGE:
                return

    def whoami(self) -> dict[str, Any] | None:
        """Whose token it is; None if it may not ask."""
        try:
            return self.call("GET", "/user")
        except HTTPError as error:
            if error.code != 403:
                raise
            return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [""]))
