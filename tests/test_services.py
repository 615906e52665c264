"""Logs that several services wrote: each service is judged as if it had written a log of its own."""

import io
import json

import jsonschema
import numpy as np
import pytest
from conftest import ROOT
from test_findings import found, sequence, ten
from test_kinds import OTHER
from test_reference import EVENTS, LENGTH, PARSER, features_pipe, make_log
from test_weighing import FAULTY

from logmoe import applying_logmoe, fitting_command, fitting_logmoe, scanning_logmoe, services_logmoe
from logmoe.answering import heading, judged, place, remarks
from logmoe.fitting_logmoe import ReferenceFit, ServiceCutters, origin_of, services_of_source, with_places
from logmoe.gathering_logmoe import FindingMaker
from logmoe.reference_logmoe import LogReference
from logmoe.reporting import finding_record, summary_record
from logmoe.sequences_logmoe import SequenceRule
from logmoe.services_logmoe import FIRST_LINES, REST, ServiceCount, ServiceParts, Services, share_known
from logmoe.silences_logmoe import SilenceWatch

SCHEMA = json.loads((ROOT / "findings.schema.json").read_text())
MAIL = ("connect from {word}", "queued as {number}", "sent to {word} in {number}", "disconnect from {word}")


@pytest.fixture(scope="module")
def pipe():
    return features_pipe()


def syslog(**logs):
    """The lines of logs as a syslog has them, in the order of time, each after the program that wrote it."""
    lines = [
        (line[:19], f"Jan {int(line[8:10]):2} {line[11:19]} host {name}[7]: {line[20:]}")
        for name, log in logs.items()
        for line in log.splitlines()
    ]
    return [line for _, line in sorted(lines, key=lambda item: item[0])]


def written_by(lines, *names):
    """The lines of some programs."""
    return [line for line in lines if line.split()[4].split("[")[0] in names]


def text(lines):
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def healthy():
    return syslog(shop=make_log(600, 1), kernel=make_log(550, 2, events=OTHER, pace=3))


@pytest.fixture(scope="module")
def faulty():
    return syslog(shop=make_log(560, 5, events=FAULTY), kernel=make_log(520, 6, events=OTHER, pace=2))


@pytest.fixture(scope="module")
def reference(pipe, healthy):
    return pipe.fit(text(healthy))


def expected_of(pipe, lines, against, **options):
    """What each program's own log gives, by the lines that it has among all."""
    found = []
    for name, reference in against.items():
        own = written_by(lines, name)
        place = [row + 1 for row, line in enumerate(lines) if written_by([line], name)]
        for result in pipe(text(own), reference=reference, **options)["sequences"]:
            found.append((place[result["first_line"] - 1], result["logits"][1]))
    return sorted(found)


def told(results):
    return sorted((result["first_line"], result["logits"][1]) for result in results)


def assert_alike(found, expected):
    assert [line for line, _ in found] == [line for line, _ in expected]
    np.testing.assert_allclose([margin for _, margin in found], [margin for _, margin in expected], atol=1e-5)


# ---------------------------------------------------------------------- who wrote an entry


@pytest.mark.parametrize(
    ("lines", "programs"),
    [
        (["Jan  1 00:00:01 host sshd[7]: yes", "Jan  1 00:00:01 host kernel: no"], ["sshd", "kernel"]),
        (["2026-01-01T00:00:01+00:00 host app/web[7]: yes"], ["app/web"]),
        (
            ["<13>1 2026-01-01T00:00:01Z host app 7 - - yes", "<13>1 2026-01-01T00:00:01Z host - 7 - - no"],
            ["app", None],
        ),
        (
            ['{"MESSAGE":"yes","__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"app","_SYSTEMD_UNIT":"a.service"}'],
            ["app"],
        ),
        (['{"MESSAGE":"yes","__REALTIME_TIMESTAMP":"1","_SYSTEMD_UNIT":"a.service"}'], ["a.service"]),
        (["__REALTIME_TIMESTAMP=1", "SYSLOG_IDENTIFIER=app", "MESSAGE=yes", "", "__REALTIME_TIMESTAMP=2"], ["app"]),
        (["web-1  | yes", "db-12 | no", "web_2  | yes", "web-1  | yes", "db-12 | no", "web_2  | no"], [*"wdwwdw"]),
        (["[pod/web-5d8f7c9b6d-x2x4z/nginx] yes", "[pod/db-0/postgres] no"], ["web/nginx", "db/postgres"]),
        # Copies are told by the end of a pod's name, not by what else looks so.
        (
            ["[pod/pay-http2-7d9c8b6f5-x2x4z/app-v1-http2] yes", "[pod/web-1/redis-6379] no"],
            ["pay-http2/app-v1-http2", "web/redis-6379"],
        ),
        # What a container's runtime says is a stream, not a service.
        (["2026-01-01T00:00:01.1Z stdout F yes"], None),
        (["2026-01-01 00:00:01 yes"], None),
        # The outermost transport tells: one service's container runs a daemon of its own.
        (["[pod/mail-0/exim] Jan  1 00:00:01 host exim4[7]: yes"], ["mail/exim"]),
    ],
)
def test_the_program_that_a_transport_names(lines, programs):
    program = PARSER.parse(text(lines)).program
    if programs is None:
        assert program is None
    else:
        short = {"w": "web", "d": "db"}
        assert program.to_pylist() == [short.get(name, name) for name in programs]


def test_programs_stay_with_their_entries():
    parsed = PARSER.parse(text(["Jan  1 00:00:01 host a[7]: one", "Jan  1 00:00:02 host b[8]: two"]))
    plain = PARSER.parse("three\n")
    assert parsed.take(np.array([1])).program.to_pylist() == ["b"]
    assert (parsed + plain).program.to_pylist() == ["a", "b", None]
    both, _ = PARSER.parse_batch([["three"], "Jan  1 00:00:01 host a[7]: one\nJan  1 00:00:01 host a[7]: two\n"])
    assert both.program.to_pylist() == [None, "a", "a"]


# ---------------------------------------------------------------------- which services there are


def test_how_far_one_program_tells_what_another_says_next():
    random = np.random.default_rng(0)
    one = random.integers(0, 4, 2000)
    for other, expected in ((one, 1.0), (random.integers(0, 4, 2000), 0.0), (np.zeros(2000, int), 0.0)):
        template = np.stack([one, 10 + other], axis=1).ravel()
        even, odd = np.arange(0, 4000, 2), np.arange(1, 4000, 2)
        # Only one of the two directions is told: the other program's next entry by this one's last.
        half = expected / 2 if expected else 0.0
        assert share_known(even, odd, template) == pytest.approx(half, abs=0.02)
    assert share_known(even[:20], odd[:20], template) == 0  # too few to tell


def counted(lines):
    return ServiceCount().add(PARSER.parse(text(lines))).services()


def test_programs_that_answer_each_other_are_one_service():
    random = np.random.default_rng(1)
    mail = []
    for second in range(0, 3000, 7):
        said = MAIL[random.integers(4)].format(word="b", number=1)
        clock = f"Jan  1 {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} host"
        mail += [f"{clock} smtpd[7]: {said}", f"{clock} cleanup[8]: {said[::-1]}"]
    lines = sorted(mail + syslog(shop=make_log(600, 1)), key=lambda line: line[:15])
    services = counted(lines)
    assert services.programs == {"shop": 1, "smtpd": 0, "cleanup": 0}
    assert len(services) == 2


@pytest.mark.parametrize(
    ("entries", "programs"),
    [
        ({"shop": 600, "kernel": 512}, {"shop": 0, "kernel": 1}),
        ({"shop": 700, "kernel": 600, "cron": 550}, {"shop": 0, "kernel": 1, "cron": 2}),
        # What is written by few stays together, if that is enough.
        ({"shop": 600, "kernel": 300, "cron": 290}, {"shop": 0}),
        # Else what has the fewest entries stays with it.
        ({"shop": 600, "kernel": 530, "cron": 20}, {"shop": 0}),
        ({"shop": 600, "kernel": 511}, {}),
        ({"shop": 600}, {}),
    ],
)
def test_which_services_are_told_apart(entries, programs):
    logs = {
        name: make_log(number, seed, events=(OTHER, MAIL)[seed % 2])
        for seed, (name, number) in enumerate(entries.items())
    }
    assert counted(syslog(**logs)).programs == programs


def test_services_of_a_file_are_those_of_its_text_whatever_its_chunks(tmp_path, healthy, monkeypatch):
    (tmp_path / "a.log").write_text(text(healthy))
    for chunk_bytes in (5000, 1 << 20):
        monkeypatch.setattr(fitting_logmoe, "BEGINNING_BYTES", chunk_bytes)
        found = services_of_source(tmp_path / "a.log", features_pipe().processor, None)
        assert found.programs == counted(healthy).programs == {"shop": 0, "kernel": 1}


def test_a_log_that_begins_without_programs_has_none(tmp_path, healthy):
    for before, programs in ((FIRST_LINES, {}), (FIRST_LINES - 1, {"shop": 0, "kernel": 1})):
        lines = [f"info {place}" for place in range(before)] + healthy
        assert set(counted(lines).programs) == set(programs), before
        (tmp_path / "a.log").write_text(text(lines))
        found = services_of_source(tmp_path / "a.log", features_pipe().processor, None)
        assert set(found.programs) == set(programs), before


def test_of_many_logs_less_of_each_is_looked_at(monkeypatch, healthy):
    """So that it takes no more memory and time however many there are; a copy counts once."""
    taken: list[int] = []
    monkeypatch.setattr(ServiceCount, "_take", lambda self, log: taken.append(len(log)))
    parsed = PARSER.parse(text(healthy * 8))
    for number in (1, 2, 100, 5000):
        ServiceCount(number).add(parsed)
    assert taken == [9200, 9200, 1310, 512]


def test_a_copy_of_a_log_says_nothing_of_its_services(pipe, tmp_path):
    lines = syslog(shop=make_log(900, 1), kernel=make_log(300, 2, events=OTHER))
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text(text(lines))
    assert not pipe.fit(tmp_path / "a.log", tmp_path / "b.log", tmp_path / "a.log").services


def test_services_of_two_references_are_put_together():
    one, two = Services({"a": 0, "b": 1, "c": 1}), Services({"c": 0, "d": 0, "e": 1})
    both = one.together(two)
    assert both.programs == {"a": 0, "b": 1, "c": 1, "d": 1, "e": 2}
    assert one.numbers_in(both).tolist() == [0, 1, REST]
    assert two.numbers_in(both).tolist() == [1, 2, REST]
    assert Services().together(one).programs == one.programs


def test_entries_are_numbered_by_service():
    lines = [f"Jan  1 00:00:0{place} host {name}[7]: entry" for place, name in enumerate("abacab")]
    parts = ServiceParts(Services({"a": 0, "b": 1}))
    found: dict[int, list] = {}
    for some in (lines[:1], lines[1:5], lines[5:]):
        for service, part in parts.of(PARSER.parse(text(some))).items():
            found.setdefault(service, []).extend(part.number.tolist())
    assert found == {0: [0, 1, 2], 1: [0, 1], REST: [0]}


# ---------------------------------------------------------------------- each is judged for itself


def test_each_service_is_judged_by_its_own_healthy_log(pipe, healthy, faulty, reference, tmp_path):
    own = {name: pipe.fit(text(written_by(healthy, name))) for name in ("shop", "kernel")}
    expected = expected_of(pipe, faulty, own)
    found = pipe(text(faulty), reference=reference)
    assert_alike(told(found["sequences"]), expected)
    assert {result["label"] for result in found["sequences"]} == {"normal", "anomaly"}
    lines = [result["first_line"] for result in found["sequences"]]
    assert lines == sorted(lines)
    assert (found["mode"], found["familiarity"]) == ("reference", pytest.approx(found["familiarity"]))
    # As far as both are known, and not as one log would be.
    whole = [pipe(text(written_by(faulty, name)), reference=of)["familiarity"] for name, of in own.items()]
    assert found["familiarity"] == pytest.approx(np.average(whole, weights=[560, 520]))

    (tmp_path / "good.log").write_text(text(healthy))
    (tmp_path / "bad.log").write_text(text(faulty))
    reference.save_pretrained(tmp_path / "saved")
    merged = pipe.fit(text(written_by(healthy, "shop"))).merge(reference)
    assert merged.services.programs == reference.services.programs
    for given in (reference, tmp_path / "good.log", LogReference.from_pretrained(tmp_path / "saved")):
        for chunk_bytes in (1 << 20, 9000):
            scan = pipe.scan(tmp_path / "bad.log", reference=given, chunk_bytes=chunk_bytes)
            assert_alike(told(scan), expected)
            assert scan.statistics.services == 2
            assert scan.statistics.healthy_entries == 1150
            assert scan.statistics.familiarity == pytest.approx(found["familiarity"])
            assert (scan.statistics.entries, scan.statistics.lines) == (1080, 1080)


def test_what_is_read_ahead_of_a_log_does_not_hang_on_chunks(pipe, faulty, reference, tmp_path, monkeypatch):
    for module in (applying_logmoe, scanning_logmoe):
        monkeypatch.setattr(module, "AHEAD_ENTRIES", 100)
    (tmp_path / "bad.log").write_text(text(faulty))
    expected = told(pipe(text(faulty), reference=reference)["sequences"])
    monkeypatch.undo()
    assert told(pipe(text(faulty), reference=reference)["sequences"]) != expected
    for module in (applying_logmoe, scanning_logmoe):
        monkeypatch.setattr(module, "AHEAD_ENTRIES", 100)
    for chunk_bytes in (1 << 20, 9000):
        assert_alike(told(pipe.scan(tmp_path / "bad.log", reference=reference, chunk_bytes=chunk_bytes)), expected)


def test_a_service_that_comes_late_is_judged_by_all_its_healthy_logs(pipe, healthy, tmp_path, monkeypatch):
    """Of whatever kinds: its beginning is not read ahead, in a file or in memory."""
    for module in (applying_logmoe, scanning_logmoe):
        monkeypatch.setattr(module, "AHEAD_ENTRIES", 300)
    kinds = [
        syslog(shop=make_log(600, seed), kernel=make_log(550, seed, events=of)) for seed, of in ((1, OTHER), (2, MAIL))
    ]
    reference = pipe.fit(*(text(lines) for lines in kinds))
    late = syslog(shop=make_log(500, 5), kernel=make_log(700, 6, events=OTHER, start=400))
    (tmp_path / "late.log").write_text(text(late))
    expected = told(pipe(text(late), reference=reference)["sequences"])
    for chunk_bytes in (1 << 20, 9000):
        assert_alike(told(pipe.scan(tmp_path / "late.log", reference=reference, chunk_bytes=chunk_bytes)), expected)


def test_what_was_read_beside_one_log_by_itself_is_let_go(pipe, faulty, tmp_path):
    for name in ("a.log", "b.log", "c.log"):
        (tmp_path / name).write_text(text(faulty))
    scan = pipe.scan(tmp_path)
    list(scan)
    assert len(scan.engine._tables) == 2  # of the services of the last one


def test_a_log_by_itself_is_judged_service_by_service(pipe, faulty, tmp_path):
    expected = expected_of(pipe, faulty, {"shop": "self", "kernel": "self"})
    found = pipe(text(faulty))
    assert found["mode"] == "self"
    assert_alike(told(found["sequences"]), expected)
    (tmp_path / "bad.log").write_text(text(faulty))
    for chunk_bytes in (1 << 20, 9000):
        scan = pipe.scan(tmp_path / "bad.log", chunk_bytes=chunk_bytes)
        assert_alike(told(scan), expected)
        assert (scan.statistics.mode, scan.statistics.services) == ("self", 2)


def test_what_is_too_little_for_habits_goes_by_its_wording(pipe, tmp_path, monkeypatch):
    """As a program that comes late; what was suspected of the others stays so."""
    monkeypatch.setattr(services_logmoe, "SAMPLE_ENTRIES", 1150)
    late = make_log(40, 7, start=640, events=MAIL)
    shop = make_log(300, 5) + "2026-01-01 00:05:01 ERROR: never seen\n" + make_log(500, 8, start=302)
    lines = syslog(shop=shop, kernel=make_log(700, 6, events=OTHER), cron=late)
    (tmp_path / "a.log").write_text(text(lines))
    scan = pipe.scan(tmp_path / "a.log", chunk_bytes=9000)
    modes = {(result["entries"][0]["text"].split("[")[0], result["mode"]) for result in scan}
    assert modes == {("shop", "self"), ("kernel", "self"), ("cron", "none")}
    (log,) = pipe.findings(tmp_path / "a.log", chunk_bytes=9000).summary.logs
    (in_memory,) = pipe.findings(text(lines)).summary.logs
    assert (log.mode, log.services) == (in_memory.mode, in_memory.services) == ("self", 3)
    assert log.suspect_kinds == in_memory.suspect_kinds
    assert "shop[<NUM>]: ERROR: never seen" in {suspect.masked for suspect in log.suspects}


def test_a_program_that_no_healthy_log_has_is_judged_by_all_of_them(pipe, reference):
    strange = syslog(shop=make_log(100, 5), intruder=make_log(80, 6, events=MAIL))
    results = pipe(text(strange), reference=reference)["sequences"]
    entries = [{entry["text"].split("[")[0] for entry in result["entries"]} for result in results]
    assert all(len(names) == 1 for names in entries)
    alone = pipe(text(written_by(strange, "intruder")), reference=reference)["sequences"]
    assert len(alone) == 10
    strange_results = [result for result, names in zip(results, entries, strict=True) if names == {"intruder"}]
    assert [result["logits"] for result in strange_results] == [result["logits"] for result in alone]


def test_references_merge_service_by_service(pipe, healthy, reference, faulty):
    """Also where another writes more, and so comes first."""
    other = syslog(shop=make_log(530, 11), kernel=make_log(700, 12, events=OTHER))
    merged = reference.merge(pipe.fit(text(other)))
    together = pipe.fit(text(healthy), text(other))
    for one in (merged, together):
        assert [int((one.service == one.services.programs[name]).sum()) for name in ("shop", "kernel")] == [1130, 1250]
    expected = told(pipe(text(faulty), reference=together)["sequences"])
    assert_alike(told(pipe(text(faulty), reference=merged)["sequences"]), expected)


def test_sessions_and_windows_by_time_are_of_all_services(pipe, healthy, faulty):
    for cut in ({"session_pattern": "started|moved|kernel"}, {"window_seconds": 20.0}):
        reference = pipe.fit(text(healthy), **cut)
        assert not reference.services
        results = pipe(text(faulty), reference=reference, **cut)["sequences"]
        assert any(len({entry["text"].split("[")[0] for entry in result["entries"]}) == 2 for result in results)


def test_programs_of_a_list_of_entries_are_unknown(pipe, healthy):
    assert not pipe.fit(healthy).services


def test_findings_of_a_service_are_not_parted_by_what_others_write(pipe, healthy, reference, tmp_path):
    """Sequences of one service that follow each other touch, whatever lies between them in the file."""
    shop = (
        make_log(300, 5)
        + make_log(64, 8, start=700, events=("fatal disk {word} is gone",))
        + make_log(200, 9, start=900)
    )
    lines = syslog(shop=shop, kernel=make_log(900, 6, events=OTHER))
    (tmp_path / "bad.log").write_text(text(lines))
    found = pipe.findings(tmp_path / "bad.log", reference=reference)
    in_memory = pipe.findings(text(lines), reference=reference)
    assert [finding.id for finding in found] == [finding.id for finding in in_memory]
    alone = pipe.findings(text(written_by(lines, "shop")), reference=pipe.fit(text(written_by(healthy, "shop"))))
    gone = [one for one in found if any("is gone" in entry.text for entry in one.entries)]
    assert len(gone) == len([one for one in alone if any("is gone" in entry.text for entry in one.entries)])
    assert sum(one.sequences for one in gone) >= 8
    assert {finding.service for finding in found} <= {"shop", "kernel"}
    assert gone[0].service == "shop"
    assert place(gone[0], False).startswith("shop, lines ")
    record = json.loads(finding_record(gone[0]))
    jsonschema.validate(record, SCHEMA)
    assert record["service"] == "shop"
    for findings in (found, in_memory):
        (log,) = findings.summary.logs
        assert (log.services, log.lines, log.entries) == (2, len(lines), len(lines))
        assert (log.start, log.end) == tuple(f"--01-01T{line.split()[2]}" for line in (lines[0], lines[-1]))
    assert {suspect.masked for suspect in found.summary.logs[0].suspects} == {
        suspect.masked for suspect in in_memory.summary.logs[0].suspects
    }


def test_sequences_touch_by_what_their_service_wrote():
    """Lines of others lie between them in the file, however many."""
    two = [
        sequence(1, ten("x"), service="shop", places=(40, 49)),
        sequence(5000, ten("y"), service="shop", places=(50, 59)),
    ]
    (finding,) = found(*two)
    assert (finding.sequences, finding.service) == (2, "shop")
    assert len(found(two[0], two[1] | {"places": (51, 60)})) == 2
    others = [sequence(3, ten("x"), service="kernel", places=(0, 9)), sequence(40, ten("x"), places=(3, 12))]
    assert [(one.service, one.sequences) for one in found(two[0], *others, two[1])] == [
        ("shop", 2),
        ("kernel", 1),
        (None, 1),
    ]


def test_a_finding_is_given_out_once_its_service_is_past_it(pipe, reference, faulty):
    """By what that writes, as usual again; others say nothing of it."""
    maker = FindingMaker({0: "normal", 1: "anomaly"})
    shop = {"service": "shop", "places": [40, 49]}
    assert maker.add(sequence(1, ten("x"), **shop)) == []
    assert maker.add(sequence(500, ten("usual"), label="normal", service="kernel", places=[0, 9])) == []
    (finding,) = maker.add(sequence(900, ten("usual"), label="normal", service="shop", places=[60, 69]))
    assert finding.service == "shop"
    assert maker.close() == []
    # Which results of either kind say.
    results = list(pipe.scan(io.StringIO(text(faulty)), reference=reference))
    assert {(result["label"], result["service"]) for result in results} >= {("normal", "shop"), ("normal", "kernel")}
    for name, number in (("shop", 560), ("kernel", 520)):
        places = [place for result in results if result["service"] == name for place in result["places"]]
        assert (min(places), max(places)) == (0, number - 1)


def test_blank_lines_part_what_one_service_wrote_in_a_file_as_in_memory(pipe, healthy, tmp_path):
    """Places are of services that are told apart; elsewhere lines tell what touches."""
    shop = make_log(100, 5) + make_log(40, 8, start=700, events=("fatal disk {word} is gone",))
    lines = shop.splitlines()
    lines[120:120] = [""] * 50
    (tmp_path / "bad.log").write_text(text(lines))
    good = pipe.fit(make_log(600, 1))
    for result in pipe.scan(tmp_path / "bad.log", reference=good):
        assert "service" not in result
        assert "places" not in result
    found, in_memory = (pipe.findings(log, reference=good) for log in (tmp_path / "bad.log", text(lines)))
    assert [(one.first_line, one.last_line) for one in found] == [(one.first_line, one.last_line) for one in in_memory]
    assert [one.id for one in found] == [one.id for one in in_memory]


def test_services_that_say_the_same_are_told_apart(pipe):
    """Compose takes the service off each line: what is usual for one says nothing of the other."""
    healthy, log = (
        {"one": make_log(600, seed), "two": make_log(560, seed + 1, events=EVENTS[::-1], pace=3)} for seed in (1, 5)
    )

    def compose(logs):
        lines = [(line, f"{name}-1  | {line}") for name, log in logs.items() for line in log.splitlines()]
        return [line for _, line in sorted(lines, key=lambda item: item[0][:19])]

    reference = pipe.fit(text(compose(healthy)))
    assert reference.services.programs == {"one": 0, "two": 1}
    judged = pipe(text(compose(log)), reference=reference)["sequences"]
    alone = [pipe(log[name], reference=pipe.fit(healthy[name]))["sequences"] for name in ("one", "two")]
    margins = sorted(result["logits"][1] for results in alone for result in results)
    np.testing.assert_allclose(sorted(result["logits"][1] for result in judged), margins, atol=1e-5)


def test_the_answer_says_how_many_services(pipe, faulty, reference, tmp_path):
    (tmp_path / "bad.log").write_text(text(faulty))
    said = judged(pipe.findings(tmp_path / "bad.log", reference=reference).summary)
    assert "(1,150 healthy entries, each of 2 services by its own, " in said
    assert judged(pipe.findings(tmp_path / "bad.log").summary).startswith(
        "each of its 2 services judged against itself"
    )
    scan = pipe.scan(tmp_path / "bad.log", reference=reference)
    list(scan)
    assert "each of 2 services by its own" in heading(scan)


def test_each_service_has_a_clock_of_its_own(pipe, healthy, tmp_path):
    """One that is hours behind the other, as in another zone, is no sign of disorder."""
    lines = [line.replace(" 00:", " 09:") if "host kernel" in line else line for line in healthy]
    (tmp_path / "good.log").write_text(text(lines))
    assert pipe.findings(tmp_path / "good.log").summary.logs[0].backward_entries == 0
    parser, rule = pipe.processor, SequenceRule(LENGTH)
    services = counted(lines)

    def said(lines):
        fit = ReferenceFit(parser, rule, origin_of(pipe.model, parser, rule), services=services)
        return fit.add_parsed(parser.parse(text(lines)))

    assert said(lines) is None
    assert ReferenceFit(parser, rule, origin_of(pipe.model, parser, rule)).add_parsed(parser.parse(text(lines)))
    # But each in itself is looked at, the second as well.
    kernel = iter(written_by(lines, "kernel")[::-1])
    assert "not in the order of time" in said([next(kernel) if "host kernel" in line else line for line in lines])


def test_fit_says_how_many_services(pipe, reference):
    read = {"log": 1, "reference": 0, "failed": 0, "repeated": 0}
    assert "1,150 healthy entries of 2 services from " in fitting_command.told(reference, read)


def test_a_promise_by_day_is_one_for_all_services(pipe, healthy, faulty, reference):
    """Both write side by side, in the time that the longer one takes."""
    own = [pipe.fit(text(written_by(healthy, name))).sequences_per_day(LENGTH) for name in ("shop", "kernel")]
    per_day = reference.sequences_per_day(LENGTH)
    assert max(own) < per_day < sum(own)
    findings = pipe.findings(text(faulty), reference=reference, false_alarms_per_day=2000)
    assert findings.summary.logs[0].promised_rate == pytest.approx(2000 / per_day)
    assert findings.summary.promised_rate == pytest.approx(2000 / per_day)


@pytest.mark.parametrize("bound", [1 << 17, 3000])
def test_a_service_that_writes_for_a_minute_adds_little_to_a_day(pipe, bound):
    """Also where of the other one, which writes all day, entries are left out."""
    shop = make_log(8640, 1, pace=20)
    lines = syslog(shop=shop, backup=make_log(600, 2, start=30000, events=MAIL, pace=0))
    reference = pipe.fit(text(lines), max_reference_entries=bound)
    assert set(reference.services.programs) == {"shop", "backup"}
    alone = pipe.fit(shop).sequences_per_day(LENGTH)
    assert reference.sequences_per_day(LENGTH) == pytest.approx(alone * (8640 + 600) / 8640, rel=0.03)


# ---------------------------------------------------------------------- services that fall silent


@pytest.fixture(scope="module")
def read(pipe):
    """Makes a reference of healthy logs, whose embeddings are not needed here."""

    def read(*logs):
        parsed = [PARSER.parse(text(lines)) for lines in logs]
        count, rule = ServiceCount(len(logs)), SequenceRule(LENGTH)
        for log in parsed:
            count.add(log)
        origin = origin_of(pipe.model, pipe.processor, rule)
        fit = ReferenceFit(pipe.processor, rule, origin, services=count.services())
        for log in parsed:
            fit.add_parsed(log)
        return fit.finish()

    return read


def silent(reference, lines, size=None):
    """What a watch says at the end of lines, in chunks of so many."""
    watch, size = SilenceWatch(reference), size or len(lines)
    for start in range(0, len(lines), size):
        parsed = with_places(PARSER.parse(text(lines[start : start + size])), PARSER)
        parsed.first_line += start
        watch.add(parsed)
    return [(one.service, one.line) for one in watch.found()]


def until(lines, end="00:08:00"):
    """The lines up to a time at which all of them still write."""
    return [line for line in lines if line.split()[2] < end]


def without(lines, name, since):
    """The lines, without those that a program wrote since a time."""
    return [line for line in lines if not (written_by([line], name) and line.split()[2] >= since)]


def test_a_service_that_falls_silent_is_named_until_it_is_back(reference, faulty):
    stopped = without(faulty, "kernel", "00:05:00")
    line = max(place for place, line in enumerate(stopped, 1) if " kernel[" in line)
    for size in (None, 50):
        assert silent(reference, stopped, size) == [("kernel", line)], size
    assert silent(reference, until(faulty)) == silent(reference, stopped + until(faulty)[-30:]) == []
    assert silent(reference, without(faulty, "kernel", "")) == [("kernel", None)]
    # For ten seconds, more than three times three, the longest in the healthy log, or for one more.
    for seconds, expected in ((10, []), (11, [("kernel", 3)])):
        wrote = (("shop", 0), ("shop", 1), ("kernel", 1), ("shop", 1 + seconds))
        last = [f"Jan  1 00:00:{second:02} host {name}[7]: entry" for name, second in wrote]
        assert silent(reference, last) == silent(reference, last, 1) == expected


def test_silence_is_told_in_a_file_in_memory_and_in_a_stream(pipe, faulty, reference, tmp_path):
    stopped = without(faulty, "kernel", "00:05:00")
    (tmp_path / "bad.log").write_text(text(stopped))
    scan = pipe.scan(io.StringIO(text(stopped)), reference=reference)
    list(scan)
    findings = [pipe.findings(log, reference=reference) for log in (tmp_path / "bad.log", text(stopped))]
    (silence,) = scan.statistics.silent
    assert [of.summary.logs[0].silent for of in findings] == [(silence,), (silence,)]
    begin, end = stopped[silence.line - 1].split()[2], stopped[-1].split()[2]
    assert "00:04:55" < begin < "00:05:00"
    seconds = 60 * int(end[3:5]) + int(end[6:]) - (60 * int(begin[3:5]) + int(begin[6:]))
    assert (silence.seconds, silence.longest) == (pytest.approx(seconds, abs=3), 3)  # by the clock of the other
    summary = findings[0].summary
    (said,) = remarks(summary)
    line = f"kernel writes nothing since line {silence.line}, for {silence.seconds / 60:.1f} min"
    assert said.endswith(f"bad.log: {line}; never for more than 3 s in the healthy log")
    record = json.loads(summary_record(summary))
    jsonschema.validate(record, SCHEMA)
    assert record["logs"][0]["silent"] == [vars(silence)]


def test_only_what_writes_throughout_the_healthy_logs_is_missed(read):
    lines = syslog(
        shop=make_log(900, 1),
        kernel=make_log(600, 2, events=OTHER, pace=3),
        backup=make_log(520, 3, start=30),
    )
    reference = read(lines)
    assert set(reference.services.programs) == {"shop", "kernel", "backup"}
    assert silent(reference, written_by(lines, "kernel")) == [("shop", None)]


def test_a_service_is_missed_in_logs_like_those_that_it_writes_into(read, tmp_path):
    """Not in another one of the same folder; as the reference says that was saved, and merged."""
    healthy = syslog(shop=make_log(600, 1), kernel=make_log(600, 2, events=OTHER), cron=make_log(560, 3, events=MAIL))
    healthy = until(healthy, "00:09:00")
    both, alone = written_by(healthy, "shop", "kernel"), written_by(healthy, "cron")
    reference = read(both, alone)
    assert len(reference.services) == 3
    reference.save_pretrained(tmp_path)
    loaded = LogReference.from_pretrained(tmp_path)
    merged = read(both).merge(reference)
    for one in (reference, loaded, merged):
        assert silent(one, both) == silent(one, alone) == []
        assert silent(one, written_by(both, "shop")) == [("kernel", None)]
    # Some of whose healthy logs lack it.
    assert silent(read(both, written_by(both, "shop")), written_by(both, "shop")) == []


def test_silence_goes_by_what_the_clock_of_each_service_says(read, faulty):
    """One that is hours behind the other, as in another zone, is not silent for hours."""

    def behind(lines):
        return [line.replace(" 00:", " 09:") if "host kernel" in line else line for line in lines]

    healthy = syslog(shop=make_log(900, 1), kernel=make_log(600, 2, events=OTHER, pace=3))
    reference = read(behind(healthy))
    assert silent(reference, behind(until(faulty))) == []
    for name in ("shop", "kernel"):
        assert [of for of, _ in silent(reference, behind(without(until(faulty), name, "00:05:00")))] == [name]


# ---------------------------------------------------------------------- streams, files


def test_a_stream_is_judged_service_by_service(pipe, faulty, reference):
    for chunk_bytes in (6000, 1 << 16):
        scan = pipe.scan(io.StringIO(text(faulty)), reference=reference, chunk_bytes=chunk_bytes)
        results = list(scan)
        for result in results:
            assert len({entry["text"].split("[")[0] for entry in result["entries"]}) == 1
        if chunk_bytes == 6000:
            first = told(results)
    assert_alike(told(results), first)


@pytest.mark.parametrize(("lines_of_it", "blocks"), [(1, 3), (2, 1)])
@pytest.mark.parametrize("size", [2048, 100])
def test_what_a_quiet_service_writes_into_a_stream_does_not_wait(monkeypatch, lines_of_it, blocks, size):
    """A quarter of a sequence is given out after the next 512 entries, less after a while; then it is not repeated."""
    monkeypatch.setattr(ServiceCutters, "LONGEST_WAIT", 3)
    lines = [f"Jan  1 00:00:00 host busy[7]: entry {place}" for place in range(2048)]
    lines[3 : 3 + lines_of_it] = ["Jan  1 00:00:00 host quiet[7]: Out of memory"] * lines_of_it
    rule, services = SequenceRule(LENGTH, fill_last=True), Services({"busy": 0, "quiet": 1})
    cutters = ServiceCutters(rule, PARSER, 1 << 16, services, is_stream=True)
    given = []
    for start in range(0, 2048, size):
        parsed = PARSER.parse(text(lines[start : start + size]))
        parsed.number = np.arange(start, start + len(parsed))
        for service, log, sequences, _ in cutters.push(parsed):
            if service == 1 and sequences:
                (positions,) = sequences
                assert [log.text[int(place)].as_py() for place in positions] == [
                    "quiet[7]: Out of memory"
                ] * lines_of_it
                given.append(start + len(parsed))
    # With the chunk that reaches that place.
    assert given == [min(-(-ServiceCutters.STREAM_ENTRIES * blocks // size) * size, 2048)]


def test_what_is_saved_of_services(reference, tmp_path):
    reference.save_pretrained(tmp_path)
    facts = json.loads((tmp_path / "reference.json").read_text())
    assert (facts["format_version"], facts["programs"], facts["logs"]) == (2, {"shop": 0, "kernel": 1}, [[0, 1]])
    loaded = LogReference.from_pretrained(tmp_path)
    assert loaded.services.programs == reference.services.programs
    np.testing.assert_array_equal(loaded.service, reference.service)
    wrong = [{"programs": of} for of in ({"shop": 0, "kernel": 2}, {"shop": -1}, {"shop": "0"}, ["shop"], {}, 3)]
    for changed in (*wrong, {"logs": [[0, 2]]}, {"logs": [["shop"]]}, {"logs": [3]}, {"logs": 3}, {"logs": [[[0]]]}):
        (tmp_path / "reference.json").write_text(json.dumps(facts | changed))
        with pytest.raises(ValueError, match="cannot be used"):
            LogReference.from_pretrained(tmp_path)


def test_a_reference_of_one_service_is_saved_as_before(pipe, healthy, tmp_path):
    pipe.fit(text(written_by(healthy, "shop"))).save_pretrained(tmp_path)
    facts = json.loads((tmp_path / "reference.json").read_text())
    assert facts["format_version"] == 1
    assert "programs" not in facts
