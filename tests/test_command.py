"""The command's words: help, usage, completion, colours, and what it does at a terminal."""

import inspect
import os
import pty
import re
import signal
import subprocess
import sys
from functools import partial

import pytest
from conftest import ROOT

import logmoe_command
from logmoe import findings_logmoe, report_command, reporting, scan_command
from logmoe.console import Console, Paint
from logmoe.reference_logmoe import MAX_REFERENCE_ENTRIES
from logmoe_command import command, main

LOG = "2024-01-01 10:00:00 INFO a\n2024-01-01 10:00:01 ERROR b\n"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["completion", "bash"], *([name, "--help"] for name in command.commands), ["fit"]],
    ids=" ".join,
)
def test_what_needs_no_model_imports_neither_package_nor_torch(arguments):
    code = (
        "import sys, logmoe_command\n"
        "code = logmoe_command.main(sys.argv[1:])\n"
        "assert not {'torch', 'transformers', 'numpy', 'pyarrow', 'logmoe'} & set(sys.modules), 'slow to start'\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == (2 if arguments == ["fit"] else 0), done.stderr
    assert (done.stdout if done.returncode == 0 else done.stderr).strip()


@pytest.mark.parametrize("name", command.commands)
def test_help_has_examples_that_the_subcommand_understands(name, capsys):
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out.split("Examples:\n")[1]
    lines = re.findall(r"^  ((?:\S+ \| )?logmoe .*)$", shown, re.MULTILINE)
    assert len(lines) == 3
    options = {flag for option in command.commands[name].params for flag in option.opts}
    for line in lines:
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", line)) <= options | {"--help"}, line
    assert all(" -X POST -T " in line for line in re.findall("curl .*", shown))  # -T alone puts, which is not served


def test_what_is_written_again_to_start_fast_is_what_the_package_has(capsys):
    assert logmoe_command.ORDERS == findings_logmoe.ORDERS
    assert set(logmoe_command.FORMATS) == {"text", *reporting.EXTENSIONS.values()}
    for name, of in (("scan", scan_command.scan), ("report", report_command.report)):
        parsed = command.commands[name].make_context(name, ["app.log"]).params
        for parameter in inspect.signature(of).parameters.values():
            if parameter.name in parsed and parameter.default is not parameter.empty:
                assert parsed[parameter.name] == parameter.default, parameter.name
    assert main(["fit", "--help"]) == 0
    assert f"[default: {MAX_REFERENCE_ENTRIES:,}]" in " ".join(capsys.readouterr().out.split())


def test_wrong_usage_says_what_is_wrong_and_controls_no_terminal(capsys):
    assert main(["app.log", "--no-such\x1b]0;owned\x07"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: logmoe scan [OPTIONS] LOG...\nTry 'logmoe scan --help'.\nerror: No such option")
    assert "\\x1b]0;owned\\x07" in err


def test_a_help_that_nobody_reads_to_its_end_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys, logmoe_command; sys.exit(logmoe_command.main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_underscored_options_go_on_working(capsys):
    """And are not advertised."""
    arguments = ["app.log", "--false_alarm_rate", "0.1"]
    assert main(arguments) == 2
    assert "error: --false-alarm-rate needs --baseline" in capsys.readouterr().err
    assert main(["scan", "--help"]) == 0
    assert not re.search(r"--\w+_\w", capsys.readouterr().out)


def test_completion_offers_subcommands_options_and_files():
    def offered(words: str) -> list[str]:
        number = str(len(words.split(" ")) - 1)
        environment = os.environ | {"_LOGMOE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": number}
        code = "import sys, logmoe_command; sys.exit(logmoe_command.main([]))"
        return subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True).split()

    assert {"plain,explain", "file,ex"} <= set(offered("logmoe ex"))
    assert "plain,--max-reference-entries" in offered("logmoe fit --max")
    assert "plain,--false-alarm-rate" in offered("logmoe app.log --false")
    assert offered("logmoe --baseline good.log --format ju") == ["plain,junit"]


def test_colours_are_for_terminals(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Console().paint == Paint(False)  # standard output is no terminal here
    assert Console(color="always").paint == Paint(True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert Console().paint == Paint(True)
    assert Console(color="never").paint == Paint(False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert Console().paint == Paint(False)
    assert Console(color="always").paint == Paint(True)  # who asks for it knows
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert Console().paint == Paint(False)


def at_a_terminal(*arguments: str, cwd=ROOT, wait_for: bytes | None = None) -> tuple[int, str]:
    """Runs the command with a terminal of 60 columns on all three streams; interrupts it once it shows a text."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "60", "LINES": "24"}
    environment.pop("NO_COLOR", None)
    code = "import sys, logmoe_command; sys.exit(logmoe_command.main())"
    # A shell that starts the tests in the background has them ignore the signal, and all that they start.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=cwd,
        env=environment | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        preexec_fn=heeds,
    ) as process:
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 4096):
                shown += part
                if wait_for is not None and wait_for in shown:
                    process.send_signal(signal.SIGINT)
                    wait_for = None
        except OSError:  # the other side is closed
            pass
    os.close(leader)
    return process.returncode, shown.decode()


def test_without_a_log_a_terminal_shows_help():
    code, shown = at_a_terminal()
    assert code == 0
    assert shown.startswith("Usage: logmoe [OPTIONS] [COMMAND] [ARGS]...")
    assert at_a_terminal("--limit", "3")[0] == 2  # and does not wait for lines to be typed


def test_at_a_terminal_the_answer_is_coloured_and_fits(tmp_path):
    (tmp_path / "app.log").write_text(f"2024-01-01 10:00:02 FATAL {'word ' * 40}\n")
    code, shown = at_a_terminal("app.log", "--threshold", "0.001", "--device", "cpu", cwd=tmp_path)
    assert code == 0, shown
    answer = shown.split("\x1b[K")[-1]  # what was waited for is taken back
    assert "loading the model" in shown
    assert "loading the model" not in answer
    assert answer.startswith("\x1b[1mapp.log: 1 finding in 1 line;")
    plain = re.sub(r"\x1b\[\d*m", "", answer)
    assert "FATAL word" in plain
    assert max(map(len, plain.splitlines())) <= 60


def test_interrupted_while_it_loads_it_ends_quietly(tmp_path):
    (tmp_path / "app.log").write_text(LOG)
    code, shown = at_a_terminal("app.log", cwd=tmp_path, wait_for=b"loading")
    assert code == 130, shown
    assert "Traceback" not in shown


def test_piped_in_without_arguments_a_log_is_read():
    code = "import sys, logmoe_command; sys.exit(logmoe_command.main())"
    for arguments in ([], ["--no-baseline"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], input=LOG, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "standard input: " in done.stdout
        assert " in 2 lines" in done.stdout


def test_quiet_and_verbose(tmp_path, capsys):
    log = tmp_path / "app.log"
    log.write_bytes(LOG.encode() + b"\xff\n")
    assert main([str(log)]) == 0
    assert "1 byte is not valid UTF-8" in capsys.readouterr().err
    assert main([str(log), "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert main([str(log), "-v"]) == 0
    assert "3 lines in " in capsys.readouterr().err
    assert main([str(tmp_path / "none.log"), "-q"]) == 2
    assert "none.log" in capsys.readouterr().err
