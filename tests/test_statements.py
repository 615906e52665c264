"""`training.statements`: log statements out of source text, with known answers. Nothing is downloaded."""

import io
import tarfile

import pytest

from logmoe.training import statements
from logmoe.training.statements import Statement, level_of, licence_of, mine, package_names, table_of
from recordings import corpus

C = """
/* log_error("text of a comment") */
static void serve(void)
{
    // log_info("text of another comment");
    log_warn("not a // comment in here");
    syslog(LOG_WARNING,
           "connection from %s port %d "
           "was slow", host, port);
    log_info("received %" PRIu64 " bytes at 0x%08x", count, place);
    set_error("this logs nothing at all");
    log_it("there is no level here");
    DEBUG(0, ("samba says errors this way"));
}
"""


def found_in(source: str, suffix: str) -> list[tuple[str, str]]:
    return [(statement.level, statement.text) for statement in mine(source, suffix)]


def test_c_calls_of_several_lines_become_masked_texts():
    assert found_in(C, ".c") == [
        ("warning", "not a // comment in here"),
        ("warning", "connection from <IP> port <NUM> was slow"),
        ("info", "received <NUM> bytes at <HEX>"),
    ]


def test_errno_becomes_a_reason_as_logs_give_it():
    [(level, text)] = found_in('log_error("cannot open file %s: %s", path, strerror(errno));', ".c")
    assert level == "error"
    assert text.startswith("cannot open file <PATH>: ")
    assert text.removeprefix("cannot open file <PATH>: ") in statements._REASONS


def test_streams():
    source = """
        Log(LogCritical, "ApiListener") << "Cannot bind to host " << host;
        g_log<<Logger::Error<<"Unable to parse zone in backend"<<endl;
    """
    assert found_in(source, ".cpp") == [
        ("error", "Cannot bind to host <IP>"),
        ("error", "Unable to parse zone in backend"),
    ]


def test_java():
    source = """
        LOG.warn("Table " + table.name() + " is missing from the schema");
        logger.info("Started {} in {} ms", what, time);
        log.log(Level.SEVERE, "Shutdown hook failed", exception);
        throw new IllegalStateException("This is no log statement");
    """
    [(level, text), *others] = found_in(source, ".java")
    assert level == "warning"
    assert text.startswith("Table ")
    assert text.endswith(" is missing from the schema")
    assert [level for level, _ in others] == ["info", "error"]
    assert others[0][1].endswith(" in <NUM> ms")
    assert others[1][1] == "Shutdown hook failed"


def test_python():
    source = """
# log.info("text of a comment")
log.error(f"cannot read {path} twice")
logger.warning(
    "retrying in %(delay)d seconds: "
    "attempt %d", attempt)
LOG.info(_LI("listening on port %s"), port)
raise ValueError("this logs nothing")
"""
    assert found_in(source, ".py") == [
        ("error", "cannot read <PATH> twice"),
        ("warning", "retrying in <NUM> seconds: attempt <NUM>"),
        ("info", "listening on port <NUM>"),
    ]


def test_go():
    source = """
        log.Infof("listening on port %d", port)
        level.Error(logger).Log("msg", "failed to flush block")
        logrus.WithField("id", id).Warn("unable to stop container")
    """
    assert found_in(source, ".go") == [
        ("info", "listening on port <NUM>"),
        ("error", "failed to flush block"),
        ("warning", "unable to stop container"),
    ]


def test_perl_and_ruby_call_without_parentheses():
    [(level, text)] = found_in('warn "cannot open $file: $!";', ".pl")
    assert level == "warning"
    assert text.startswith("cannot open <PATH>: ")
    assert found_in('Puppet.notice "Catalog is cached"\nPuppet.err _("Could not run agent")\n', ".rb") == [
        ("info", "Catalog is cached"),
        ("error", "Could not run agent"),
    ]


def test_erlang():
    assert found_in('?WARNING_MSG("Listener has stopped", []),', ".erl") == [("warning", "Listener has stopped")]


@pytest.mark.parametrize(
    ("name", "arguments", "level"),
    [
        ("log_err", "", "error"),
        ("logger.warning", "", "warning"),
        ("slog.Debugf", "", "debug"),
        ("nm_logWarn", "", "warning"),
        ("syslog", "LOG_NOTICE, ", "info"),
        ("log_error_at", "LOG_INFO, ", "info"),  # what is passed decides
        ("printf", "", None),
        ("is_error", "", None),
    ],
)
def test_levels(name, arguments, level):
    assert level_of(name, arguments) == level


def test_a_text_in_several_levels_gets_the_one_of_most_or_is_dropped():
    table = table_of(
        {
            "b": ("MIT", [Statement("cannot reach peer", "error")] * 2 + [Statement("peer has gone", "info")]),
            "a": ("GPL", [Statement("cannot reach peer", "debug"), Statement("peer has gone", "error")]),
        }
    )
    assert table.to_pylist() == [
        {"text": "cannot reach peer", "level": "error", "label": 1, "package": "a", "licence": "GPL"}
    ]


def test_the_table_does_not_depend_on_the_order_of_packages():
    packages = {
        "b": ("MIT", [Statement("disk is full", "error"), Statement("service has started", "info")]),
        "a": ("GPL", [Statement("user alice logged in from 10.0.0.1", "info")]),
    }
    table = table_of(packages)
    assert table.equals(table_of(dict(reversed(packages.items()))))
    assert table["text"].to_pylist() == [
        "user alice logged in from <IP>",  # the masks' own placeholders
        "disk is full",
        "service has started",
    ]


def test_an_archive_without_its_tests_and_copies(tmp_path):
    path = tmp_path / "thing_1.0.orig.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("z.c", "a.c", "tests/a.c", "vendor/lib/b.c", "src/b_test.go", "README"):
            content = f'log_error("cannot do {name[0]} things");'.encode()
            item = tarfile.TarInfo(f"thing-1.0/{name}")
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    found = list(statements.statements_in(statements.read_archive(path)))
    assert [statement.text for statement in found] == ["cannot do a things", "cannot do z things"]


def test_licence():
    text = "Format: https://…\n\nFiles: *\nCopyright: 2020 Someone\nLicense: MIT\n\nFiles: debian/*\nLicense: GPL-2+\n"
    assert licence_of(text) == "MIT"
    assert licence_of("It is free.") == ""


class Unreachable:
    def download(self, package):
        raise RuntimeError(f"the source package {package} cannot be downloaded")


def test_a_missing_package_is_named_or_skipped(capsys):
    with pytest.raises(RuntimeError, match="no-such-package"):
        statements.build(["no-such-package"], Unreachable())
    assert statements.build(["no-such-package"], Unreachable(), skip_missing=True).num_rows == 0
    assert "skipped: the source package no-such-package" in capsys.readouterr().err


def test_the_list_names_no_recorded_service():
    names = package_names()
    assert len(names) == len(set(names)) > 30
    recorded = ("bind9", *(service for service in corpus.SERVICES if service != "bind"))
    assert not [name for name in names if name.startswith(recorded)]
