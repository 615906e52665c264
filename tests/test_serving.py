"""The service over HTTP: a real server, real clients; what takes long or is refused, and what stays behind."""

import asyncio
import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import uvicorn
from conftest import MINI, ROOT, make_model, run_command, tiny_processor
from transformers import pipeline

from logmoe import LogAnomalyPipeline
from logmoe.reporting import jsonl
from logmoe.serving import Limits, Service, Uploads, create_app, is_loopback

HEALTHY, FAULTY = ((ROOT / "examples" / f"apache-{kind}.log") for kind in ("healthy", "faulty"))
LOG = b"2024-01-01 10:00:00 INFO a\n2024-01-01 10:00:01 ERROR b failed\n"
TOKEN = "a-token"


class Server:
    """A service that listens at a free port."""

    def __init__(self, service, **options):
        self.service = service
        app = create_app(service, **options)
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()

    def ask(self, method, path, body=None, **headers):
        return ask(self.port, method, path, body, **headers)

    def is_idle(self):
        """Whether nothing of any request is left; what was given up may take a moment."""
        uploads = self.service.uploads
        return wait(lambda: not (list(uploads.folder.iterdir()) or uploads.requests or uploads.stored_bytes))


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return SimpleNamespace(status=answer.status, text=answer.read().decode(), headers=answer.headers)


def detail(answer):
    return answer.status, json.loads(answer.text)["detail"]


def wait(is_so, seconds=10):
    ends = time.monotonic() + seconds
    while not is_so() and time.monotonic() < ends:
        time.sleep(0.02)
    return is_so()


@pytest.fixture(scope="module")
def pipe():
    return pipeline("log-anomaly", model=str(MINI))


@pytest.fixture(scope="module")
def tiny():
    model, processor = make_model(), tiny_processor()
    model.add_placeholders(processor)
    return LogAnomalyPipeline(model, processor=processor)


@pytest.fixture(scope="module")
def reference(pipe):
    return pipe.fit(HEALTHY)


@pytest.fixture(scope="module")
def server(pipe, reference):
    with Server(Service(pipe, Limits(references=2), {"shop": reference})) as server:
        yield server


@pytest.fixture(scope="module")
def small(tiny):
    """A service with a small model and a low limit."""
    with Server(Service(tiny, Limits(upload_bytes=100_000))) as server:
        yield server


# ---------------------------------------------------------------------- what is asked


def test_findings_are_those_of_the_pipeline(server, pipe, reference):
    answer = server.ask("POST", "/findings?reference=shop&name=today.log", FAULTY.read_bytes())
    records = [json.loads(line) for line in answer.text.splitlines()]
    expected = [json.loads(line) for line in jsonl(pipe.findings(FAULTY, reference=reference)).splitlines()]
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert len(records) == len(expected) == 4
    assert records[:3] == [finding | {"source": "today.log"} for finding in expected[:3]]
    assert records[3]["baseline"] == "shop"
    assert records[3]["logs"][0]["source"] == "today.log"
    assert server.is_idle()


def test_a_log_is_learned_named_listed_replaced_and_forgotten(server):
    answer = server.ask("POST", "/references?name=mine", gzip.compress(HEALTHY.read_bytes()))
    assert answer.status == 201
    assert json.loads(answer.text)["entries"] == 2000
    assert [each["name"] for each in json.loads(server.ask("GET", "/references").text)] == ["mine", "shop"]
    both = [server.ask("POST", f"/findings?reference={name}", FAULTY.read_bytes()).text for name in ("mine", "shop")]
    assert both[0].replace('"mine"', '"shop"') == both[1]
    assert server.ask("POST", "/references?name=other", HEALTHY.read_bytes()[:20_000]).status == 201
    assert detail(server.ask("POST", "/references?name=third", b"x"))[0] == 409  # two are the limit
    replaced = server.ask("POST", "/references?name=mine", HEALTHY.read_bytes()[:20_000])
    assert (replaced.status, json.loads(replaced.text)["entries"] < 2000) == (201, True)
    for name in ("mine", "other"):
        assert server.ask("DELETE", f"/references/{name}").status == 204
    assert detail(server.ask("DELETE", "/references/mine"))[0] == 404
    # What the service began with is its own.
    assert detail(server.ask("DELETE", "/references/shop"))[0] == 409
    assert detail(server.ask("POST", "/references?name=shop", b"x"))[0] == 409


@pytest.mark.parametrize(
    ("form", "beginning"),
    [
        ("text", "upload: 3 findings in 1,436 lines; judged against shop"),
        ("html", "<!doctype html>"),
        ("sarif", "{"),
        ("junit", "<?xml"),
        ("markdown", "### LogMoE"),
    ],
)
def test_formats(server, form, beginning):
    answer = server.ask("POST", f"/findings?reference=shop&format={form}&limit=1", FAULTY.read_bytes())
    assert answer.status == 200
    assert answer.text.lower().startswith(beginning.lower())
    assert ("2 more" in answer.text) == (form in ("text", "markdown"))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_that_a_client_names_is_opened(server, tmp_path, reference):
    secret = tmp_path / "secret.log"
    secret.write_text("2024-01-01 10:00:00 ERROR the secret\n")
    reference.save_pretrained(tmp_path / "saved")
    for body in (str(secret), f"{secret}\n", str(tmp_path), str(tmp_path / "saved")):
        answer = server.ask("POST", f"/findings?reference=none&format=html&name={secret}", body.encode())
        assert answer.status == 200
        assert "the secret" not in answer.text
        assert str(server.service.uploads.folder) not in answer.text
        assert json.loads(server.ask("POST", "/references?name=named", body.encode()).text)["entries"] == 1
    assert server.ask("DELETE", "/references/named").status == 204
    for named in (secret, tmp_path / "saved"):
        assert detail(server.ask("POST", f"/findings?reference={named}", LOG))[0] in (404, 422)
        assert server.ask("POST", f"/references?name={named}", LOG).status == 422


def test_bad_requests_are_told_what_is_wrong(small):
    damaged = gzip.compress(LOG * 100)[:-20]
    for path, body, status, words in (
        ("/findings", b"", 400, "no log entries in upload"),
        ("/findings?name=app.log", b"\n\n", 400, "no log entries in app.log"),
        ("/findings", damaged[:12], 400, ""),
        ("/findings?encoding=rot13", LOG, 400, "`encoding` must name"),
        ("/findings?reference=shop", LOG, 404, "there is no reference 'shop': POST /references?name=shop"),
        ("/findings?false_alarm_rate=0.1", LOG, 400, "a promise about healthy logs"),
        ("/references?name=none", LOG, 422, "stands for a way of judging"),
        ("/references?name=good", LOG, 400, "cannot judge against a reference"),
    ):
        found, told = detail(small.ask("POST", path, body))
        assert (found, words in told, str(small.service.uploads.folder) in told) == (status, True, False), told
    for path in ("/findings?formatt=html", "/findings?limit=0", "/references", "/references?name=a/b"):
        assert small.ask("POST", path, LOG).status == 422
    form = {"Content_Type": "multipart/form-data; boundary=x"}
    assert "curl -X POST -T LOG" in detail(small.ask("POST", "/findings", b"--x--", **form))[1]
    # What could be read is judged, and the rest is named.
    answer = small.ask("POST", "/findings?name=app.log", damaged)
    told = json.loads(answer.text.splitlines()[-1])["skipped"]
    assert (answer.status, [one["source"] for one in told]) == (200, ["app.log"])
    assert "damaged" in told[0]["reason"]
    assert small.is_idle()


def test_the_page_that_says_how_to_ask_needs_no_other_host(small):
    known = json.loads(small.ask("GET", "/openapi.json").text)["paths"]
    assert {f"{method} {path}" for path in known for method in known[path]} == {
        *("get /health", "post /findings", "get /references", "post /references", "delete /references/{name}")
    }
    page = small.ask("GET", "/docs").text
    assert "swagger" in page
    assert "//" not in page.replace("<!-- `SwaggerUIBundle` is now available on the page -->", "").replace("://", "")
    assert small.ask("GET", "/static-offline-docs/swagger-ui-bundle.js").status == 200
    assert json.loads(small.ask("GET", "/health").text)["status"] == "ok"


# ---------------------------------------------------------------------- many at once


def test_two_hundred_requests_at_once_get_the_answers_of_one(small):
    logs = [LOG + b"2024-01-01 10:00:02 INFO " + b"abcde"[row : row + 1] + b" moved\n" for row in range(5)]
    alone = [small.ask("POST", f"/findings?name={row}", log).text for row, log in enumerate(logs)]
    assert len(set(alone)) == 5
    with ThreadPoolExecutor(200) as clients:
        answers = list(clients.map(lambda n: small.ask("POST", f"/findings?name={n % 5}", logs[n % 5]), range(200)))
    assert {answer.status for answer in answers} == {200}
    assert [answer.text for answer in answers] == [alone[number % 5] for number in range(200)]
    assert small.is_idle()


class SlowPipe:
    """Reads a log again and again, until it is gone."""

    def __init__(self):
        self.started, self.ended = [], 0

    def findings(self, path, **_):
        self.started.append(path)
        while path.exists():
            time.sleep(0.02)
        self.ended += 1
        raise ValueError("a part of the log")

    def fit(self, path, **_):
        with contextlib.suppress(ValueError):
            self.findings(path)
        return SimpleNamespace(num_entries=1, texts=["a part of the log"])


def test_what_another_log_said_is_not_encoded_again(pipe):
    encoded = []
    encoder = pipe.model.get_submodule(f"{pipe.model.base_model_prefix}.encoder")
    hook = encoder.register_forward_hook(lambda *_: encoded.append(1))
    try:
        with Server(Service(pipe)) as server:
            first = server.ask("POST", "/findings", FAULTY.read_bytes()).text
            once = len(encoded)
            again = server.ask("POST", "/findings", FAULTY.read_bytes()).text
    finally:
        hook.remove()
    assert once > 0
    assert len(encoded) == once
    assert again == first


def test_what_takes_too_long_is_given_up_and_leaves_nothing(pipe):
    slow = SlowPipe()
    with Server(Service(slow, Limits(seconds=0.3))) as server:
        assert detail(server.ask("POST", "/findings", LOG)) == (
            504,
            "no answer within 0.3 seconds, the most that a request may take: send a shorter log, or try again when "
            "fewer requests wait",
        )
        assert wait(lambda: slow.ended == 1)
        assert server.ask("POST", "/references?name=good", LOG).status == 504
        assert wait(lambda: slow.ended == 2)
        assert server.ask("GET", "/references").text == "[]"  # half a log is no reference
        server.service.pipe = SimpleNamespace(findings=pipe.findings)
        server.service.limits = replace(server.service.limits, seconds=60)
        assert server.ask("POST", "/findings", LOG).status == 200
        assert server.is_idle()


def test_who_does_not_wait_any_more_is_not_served(monkeypatch):
    monkeypatch.setattr("logmoe.serving.POLL_SECONDS", 0.05)
    slow = SlowPipe()
    with Server(Service(slow)) as server:
        for path in ("/findings", "/findings?name=waiting"):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(LOG)}\r\n\r\n".encode() + LOG
            )
            assert wait(lambda: slow.started)
            client.close()
        assert server.is_idle()
        assert wait(lambda: slow.ended == len(slow.started))
        half = socket.create_connection(("127.0.0.1", server.port))
        half.sendall(b"POST /findings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + LOG)
        assert wait(lambda: server.service.uploads.requests == 1)
        half.close()
        assert server.is_idle()


def test_the_service_ends_although_a_log_is_being_judged():
    slow = SlowPipe()
    server = Server(Service(slow))
    with server, ThreadPoolExecutor(1) as clients:
        asked = clients.submit(server.ask, "POST", "/findings", LOG)
        assert wait(lambda: slow.started)
        server.server.should_exit = True
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            asked.result(timeout=20)
    assert slow.ended == 1
    assert not server.service.uploads.folder.exists()


# ---------------------------------------------------------------------- limits


def test_a_log_that_is_too_large_is_refused(small):
    words = "the log is larger than 100,000 bytes, the most that is taken"
    assert detail(small.ask("POST", "/findings", b"a\n" * 50_001)) == (413, words)
    pieces = (b"a\n" * 5_000 for _ in range(11))
    assert detail(small.ask("POST", "/findings", pieces)) == (413, words)
    # Who asks first is spared the sending.
    client = socket.create_connection(("127.0.0.1", small.port))
    with client:
        client.sendall(
            b"POST /findings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413")
    assert small.is_idle()


def test_a_log_that_comes_too_slowly_is_refused(tiny):
    with Server(Service(tiny, Limits(seconds=0.2))) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        with client:
            client.sendall(b"POST /findings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + LOG)
            assert client.recv(1000).startswith(b"HTTP/1.1 408")
        assert server.is_idle()


def test_more_than_there_is_room_for_is_refused_and_told_to_wait():
    slow = SlowPipe()
    limits = Limits(upload_bytes=1000, stored_bytes=1000, requests=2, seconds=30)
    with Server(Service(slow, limits)) as server, ThreadPoolExecutor(2) as clients:
        first = clients.submit(server.ask, "POST", "/findings", b"a\n" * 400)
        assert wait(lambda: slow.started)
        answer = server.ask("POST", "/findings", b"a\n" * 400)
        assert detail(answer) == (503, "the logs that wait fill the room there is for them; try again later")
        assert answer.headers["Retry-After"] == "10"
        second = clients.submit(server.ask, "POST", "/findings", LOG)
        assert wait(lambda: server.service.uploads.requests == 2)
        assert detail(server.ask("POST", "/findings", LOG))[0] == 503
        for path in server.service.uploads.folder.iterdir():
            path.unlink()  # which ends the slow work
        assert {first.result().status, second.result().status} == {400}


def test_an_upload_is_not_held_in_memory(tmp_path):
    piece = b"x" * 65536

    async def stream():
        for _ in range(1024):
            yield bytes(piece)

    async def receive():
        uploads = Uploads(tmp_path, Limits())
        async with uploads.receive(SimpleNamespace(headers={}, stream=stream)) as path:
            assert path.stat().st_size == 64 << 20
            assert path.stat().st_mode & 0o077 == 0

    tracemalloc.start()
    asyncio.run(receive())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- who may ask


def test_a_token_is_asked_for(tiny):
    with Server(Service(tiny), token=TOKEN) as server:
        for method, path in (("POST", "/findings"), ("GET", "/references"), ("DELETE", "/references/x")):
            refused = server.ask(method, path, LOG if method == "POST" else None)
            assert detail(refused) == (401, "needs a bearer token")
            assert refused.headers["WWW-Authenticate"] == "Bearer"
            wrong = server.ask(method, path, LOG if method == "POST" else None, Authorization=f"Bearer {TOKEN}x")
            assert detail(wrong) == (401, "the bearer token is wrong")
        assert server.ask("POST", "/findings", LOG, Authorization=f"Bearer {TOKEN}", Host="log.example").status == 200
        assert server.ask("GET", "/health").status == 200


def test_without_a_token_pages_of_other_sites_are_refused(small):
    own = f"127.0.0.1:{small.port}"
    assert small.ask("POST", "/findings", LOG, Origin=f"http://{own}").status == 200
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": "["}):
        assert detail(small.ask("POST", "/findings", LOG, **headers))[0] == 403
    assert small.is_idle()


def test_who_is_this_machine():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "192.168.1.1", "localhost.evil.example", "127.0.0.1.evil")))


# ---------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host": "0.0.0.0"}, "other machines can reach '0.0.0.0': set LOGMOE_TOKEN, or --token-file"),
        ({"host": "0.0.0.0", "token_file": "missing"}, "missing"),
        ({"token_file": os.devnull}, "the token in /dev/null must be one word"),
        ({"reference": ["good.log"]}, "--reference 'good.log': expected NAME=GOOD"),
        ({"reference": ["a=x", "a=y"]}, "names 'a' twice"),
        ({"reference": ["self=x"]}, "a reference cannot be called 'self'"),
        ({"host": "no.such.host.invalid", "without_token": True}, "cannot listen at no.such.host.invalid, port 8000"),
        ({"model": "nowhere", "port": 0}, "no checkpoint at 'nowhere'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_served(given, words, capsys, monkeypatch):
    monkeypatch.delenv("LOGMOE_TOKEN", raising=False)
    assert run_command("serve", **given) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words in told


def test_a_port_that_is_taken_and_a_library_that_is_missing(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run_command("serve", port=taken.getsockname()[1]) == 2
    assert "cannot listen at 127.0.0.1" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run_command("serve") == 2
    assert "pip install 'logmoe[serve]'" in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("LOGMOE_TOKEN", TOKEN)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # A shell that starts the tests in the background has them ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    said, answers = [], []

    def client():
        try:
            assert wait(lambda: said.append(capfd.readouterr().out) or "serving" in "".join(said), 60)
            port = urlsplit("".join(said).split(" at ")[1].split(";")[0]).port
            shown = {"Authorization": f"Bearer {TOKEN}"}
            answers.append(ask(port, "POST", "/findings?reference=shop&format=text", FAULTY.read_bytes(), **shown))
            answers.append(ask(port, "POST", "/findings", LOG))
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    asking = threading.Thread(target=client)
    asking.start()
    try:
        code = run_command("serve", port=0, reference=[f"shop={HEALTHY}"])
        asking.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert answers[0].text.startswith("upload: 3 findings in 1,436 lines; judged against shop")
    assert answers[1].status == 401
    assert not list(tmp_path.iterdir())
