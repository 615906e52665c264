"""The Space: each log judged in a process of its own, and the page clicked through in a real browser."""

import gzip
import importlib
import importlib.metadata
import io
import json
import os
import re
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from chromium import FOUND, NAMES, Chromium
from conftest import ROOT
from test_reporting import MALICIOUS

from logmoe.answering import headline
from logmoe.findings_logmoe import Findings
from logmoe.reporting import format_of, render

SPACE = ROOT / "deploy" / "space"
sys.path.insert(0, str(SPACE))
judging = importlib.import_module("judging")
EXAMPLES = ROOT / "examples"


# ---------------------------------------------------------------------- judging


def test_a_log_is_judged_and_the_reports_know_files_by_their_names(tmp_path):
    log = tmp_path / "today [1].log.gz"
    log.write_bytes(gzip.compress((EXAMPLES / "apache-faulty.log").read_bytes()))
    workers = judging.Workers(1)
    try:
        headline = workers.judge(str(log), str(EXAMPLES / "apache-healthy.log"), tmp_path)
    finally:
        workers.close()
    assert headline.startswith(f"{log.name}: 3 findings in 1,436 lines; judged against apache-healthy.log (2,000")
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in judging.REPORTS}
    assert all(log.name in text or "%5B1%5D" in text for text in texts.values())
    assert not [name for name, text in texts.items() if str(tmp_path) in text or str(EXAMPLES) in text]


def test_what_a_process_says_is_wrong_has_no_paths(monkeypatch, capsys):
    def fails(log, **_):
        raise FileNotFoundError(f"no log at {str(log)!r}: \x1b[2J")

    task = {"log": "/secret/folder/app.log", "healthy": None, "into": "/secret"}
    stub = SimpleNamespace(findings=lambda log, **_: None if log == ["warm up"] else fails(log))
    monkeypatch.setattr("logmoe.inference.load_pipeline", lambda *_, **__: stub)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(task) + "\n"))
    monkeypatch.setattr("sys.stdout", sys.stdout)  # restored afterwards
    judging.work()
    ready, said = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert json.loads(said) == {"error": "no log at 'app.log': \\x1b[2J"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('ready', flush=True); input(); import time; time.sleep(100)", "this took longer than 0.5 s"),
        ("print('ready', flush=True); input()", "its process has ended"),
        ("", "the model could not be loaded"),
    ],
)
def test_a_process_that_does_not_answer_is_ended_and_replaced(code, said, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "SECONDS", 0.5)
    workers = judging.Workers(1, (sys.executable, "-c", code))
    (first,) = workers._all
    log = tmp_path / "app.log"
    log.touch()
    try:
        with pytest.raises(judging.NotJudged, match=said):
            workers.judge(str(log), None, tmp_path)
        assert first.returncode is not None
        assert len(workers._all) == 1
        os.truncate(log, (judging.MEGABYTES << 20) + 1)
        with pytest.raises(judging.NotJudged, match=r"^app.log is larger than 20 MB: give a part of it"):
            workers.judge(str(log), None, tmp_path)
    finally:
        workers.close()


@pytest.fixture(scope="module")
def browser():
    if not FOUND:
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is installed")
    with Chromium(1200, 1000) as browser:
        yield browser


def test_a_page_in_its_frame_reaches_nothing_around_it(browser, tmp_path):
    """Even one whose script runs."""
    script = (
        "for (const act of [() => { parent.document.title = 'owned' }, () => { top.location = 'about:blank' },"
        " () => localStorage.setItem('a', 1), () => document.cookie, () => alert(1), () => open('about:blank')])"
        " try { act() } catch (error) { }; parent.postMessage(`ran in ${origin}`, '*')"
    )
    around = (
        "<title>around</title><script>addEventListener('message', said => { window.heard = said.data })</script>"
        + judging.framed(f"<title>\"'&lt;</title><script>{script}</script>")
    )
    (tmp_path / "around.html").write_text(around, encoding="utf-8")
    browser.open(tmp_path / "around.html")
    wait_for(browser, "window.heard === 'ran in null'")
    assert browser.evaluate("document.title") == "around"
    assert browser.evaluate("location.pathname").endswith("/around.html")
    assert browser.evaluate("document.querySelectorAll('*').length") == 6  # html, head, title, script, body, iframe


# ---------------------------------------------------------------------- the page


class Prepared:
    """Judges as a worker does, with one answer to every log that is not blank."""

    def judge(self, log, healthy, into):
        if not Path(log).read_text(encoding="utf-8").strip():
            raise judging.NotJudged("there is nothing in <b>it</b>")
        found = replace_source(MALICIOUS, Path(log).name)
        for name in judging.REPORTS:
            (into / name).write_text(render(found, format_of(name)), encoding="utf-8")
        return headline(found.summary)


def replace_source(findings, name):
    logs = tuple(replace(log, source=name) for log in findings.summary.logs)
    return Findings([replace(one, source=name) for one in findings], replace(findings.summary, logs=logs))


@pytest.fixture(scope="module")
def space():
    try:
        importlib.metadata.version("gradio")  # a folder of that name could be imported as well
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no Gradio: pip install 'logmoe[space]'")
    app = importlib.import_module("app")
    blocks = app.launch(Prepared(), prevent_thread_lock=True, server_name="127.0.0.1", quiet=True)
    assert blocks.analytics_enabled is False
    yield app, blocks.local_url
    blocks.close()


@pytest.fixture
def opened(space, browser):
    app, url = space
    browser.requests.clear()
    browser.open(url)
    wait_for(browser, "document.querySelector('#example')")
    yield browser
    # Nothing was asked of anybody else.
    assert [address for address in browser.requests if not address.startswith((url, "data:", "blob:", "about:"))] == []
    assert len(browser.requests) > 10
    # No upload is left.
    left = [path.name for path in Path(app.TEMPORARY.name).rglob("*") if path.is_file() and path.stat().st_size]
    assert not [name for name in left if not name.startswith("report.")]


def wait_for(browser, condition, seconds=90):
    end = time.monotonic() + seconds
    while not browser.evaluate(f"!!({condition})"):
        assert time.monotonic() < end, f"{condition}; the page says: {browser.evaluate('document.body.innerText')}"
        time.sleep(0.05)


def choose(browser, where, path):
    """Chooses a file, as the dialogue for files would."""
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector=f"#{where} input[type=file]")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def give(browser, where, path):
    choose(browser, where, path)
    wait_for(browser, f"document.querySelector('#{where}').innerText.includes('{path.stem}')")


def answer(browser, button, what="#page iframe"):
    browser.evaluate(f"document.querySelector('#{button}').click()")
    wait_for(browser, f"document.querySelector('{what}')")


SAVES = "[...document.querySelectorAll('button')].filter(button => button.innerText.startsWith('Save '))"


def test_the_example_is_a_click_away_and_can_be_saved(opened):
    answer(opened, "example")
    frame = "document.querySelector('#page iframe')"
    assert opened.evaluate(f"{frame}.getAttribute('sandbox')") == judging.SANDBOX
    assert "1 finding in apache-faulty.log" in opened.evaluate(f"{frame}.srcdoc")
    # A button makes a link, and clicks it.
    opened.evaluate(
        "window.saved = [];"
        "HTMLAnchorElement.prototype.click = function () { saved.push([this.download, this.href]) };"
        f"{SAVES}.forEach(button => button.click())"
    )
    wait_for(opened, "saved.length === 4")
    assert [name for name, _ in opened.evaluate("saved")] == list(judging.REPORTS)
    texts = [
        opened.evaluate(f"fetch({json.dumps(address)}).then(said => said.text())")
        for _, address in opened.evaluate("saved")
    ]
    assert texts[0] == opened.evaluate(f"{frame}.srcdoc")
    assert json.loads(texts[3])["version"] == "2.1.0"


def test_a_log_is_dropped_judged_and_deleted_and_nothing_of_it_runs(opened, tmp_path):
    for name in ("log", "healthy"):
        (tmp_path / f"my-{name}.log").write_text("fine\n")
        give(opened, name, tmp_path / f"my-{name}.log")
    answer(opened, "judge")
    opened.settle()
    page = opened.evaluate("document.querySelector('#page iframe').srcdoc")
    assert "1 finding in my-log.log" in page
    assert "&lt;script&gt;alert(1)" in page  # of the hostile finding
    assert opened.evaluate("document.title") == "LogMoE"
    # The places to drop are free again.
    for name in ("log", "healthy"):
        assert "my-" not in opened.evaluate(f"document.querySelector('#{name}').innerText")


def test_what_is_wrong_is_said_where_the_answer_would_be(opened, tmp_path):
    answer(opened, "judge", "#page [role=alert]")
    said = "document.querySelector('#page').innerText"
    assert opened.evaluate(said).strip() == "Not judged: there is no log: drop one first."
    large = tmp_path / "large.log"
    large.touch()
    os.truncate(large, (judging.MEGABYTES << 20) + 1)
    choose(opened, "log", large)  # Gradio's own words
    wait_for(opened, "document.body.innerText.includes('exceed the maximum allowed size of 20.0 Mb')")


def test_an_earlier_answer_is_none_to_another_log(opened, tmp_path):
    (tmp_path / "blank.log").write_text("\n\n")
    answer(opened, "example")
    give(opened, "log", tmp_path / "blank.log")
    answer(opened, "judge", "#page [role=alert]")
    assert "Not judged: there is nothing in <b>it</b>." in opened.evaluate("document.querySelector('#page').innerText")
    assert opened.evaluate(f"{SAVES}.length + document.querySelectorAll('#page iframe').length") == 0


@pytest.mark.slow
def test_the_example_by_the_model_itself(space, browser):
    app, _ = space
    workers = judging.Workers(1)
    blocks = app.launch(workers, prevent_thread_lock=True, server_name="127.0.0.1", quiet=True)
    try:
        browser.open(blocks.local_url)
        wait_for(browser, "document.querySelector('#example')")
        answer(browser, "example")
        assert "3 findings in apache-faulty.log" in browser.evaluate("document.querySelector('#page iframe').srcdoc")
    finally:
        blocks.close()
        workers.close()


def test_old_files_are_swept_away(space, tmp_path):
    app, _ = space
    old, young = tmp_path / "a" / "old", tmp_path / "b" / "young"
    for path in (old, young):
        path.parent.mkdir()
        path.touch()
    os.utime(old, (0, 0))
    app.sweep(tmp_path, app.KEPT)
    assert (old.exists(), young.exists()) == (False, True)


# ---------------------------------------------------------------------- what the Hub reads


def test_the_space_installs_what_the_package_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [line for line in (SPACE / "requirements.txt").read_text().splitlines() if line[0] not in "#-"]
    assert needed == project["dependencies"] + project["optional-dependencies"]["report"]


def test_its_card_says_how_to_start_it():
    _, head, _ = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["sdk"] == "gradio"
    assert (SPACE / card["app_file"]).exists()
    assert len(card["short_description"]) <= 60  # as the Hub allows
    assert re.fullmatch(r"\d+\.\d+\.\d+", card["sdk_version"])
