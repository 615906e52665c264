"""The command `logmoe`: what can be asked, and with which words.

A module of its own beside the package, for importing the package takes seconds: help, version, completion and wrong
usage need none of it. What a subcommand does is imported when it runs.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

ORDERS = ("strength", "time")
FORMATS = ("text", "html", "jsonl", "sarif", "junit", "markdown")
SHELLS = ("bash", "fish", "zsh")
# What `--ray` takes for an address; a log that is called so is written ./auto.
_RAY_ADDRESS = re.compile(r"auto|local|(ray://)?[\w.-]+:\d+")
# The sections of a subcommand's help, in their order.
SECTIONS = ("What is healthy", "The answer", "How logs are read", "The model", "Many machines", "Other options")


class Option(click.Option):
    """An option that belongs to a section of the help."""

    def __init__(self, *args: Any, section: str = SECTIONS[-1], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)  # that a number of findings is at least one goes without saying
        return extra


class Command(click.Command):
    """A subcommand whose help is read like a manual's page: sections of options, then examples."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                sections[getattr(parameter, "section", SECTIONS[-1])].append(record)
        for section, records in sections.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records, col_max=34)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


class ScanByDefault(click.Group):
    """`logmoe LOG…` is `logmoe scan LOG…`."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if args and args[0] not in self.commands and args[0] not in own:
            args = ["scan", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [*super().shell_complete(ctx, incomplete), CompletionItem(incomplete, type="file")]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(
            formatter,
            (
                ("logmoe today.log --baseline yesterday.log", "what yesterday, a healthy day, did not have"),
                ("journalctl -o short-iso -b | logmoe", "what stands out since the machine started"),
                ("logmoe server.log -o report.html", "the same as a page to send to a colleague"),
            ),
        )
        super().format_epilog(ctx, formatter)


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[tuple[str, str]]) -> None:
    if examples:
        with formatter.section("Examples"):
            for line, what in examples:
                formatter.write_text(f"# {what}")
                # As it is: a command that is wrapped cannot be copied.
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


# ---------------------------------------------------------------------- options that subcommands share


def _option(*names: str, section: str = SECTIONS[-1], **kwargs: Any) -> Callable:
    return click.option(*names, cls=Option, section=section, **kwargs)


def _all(*options: Callable) -> Callable:
    """Decorates with options, in the order in which help lists them."""

    def decorate(function: Callable) -> Callable:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_logs = click.argument("logs", nargs=-1, metavar="LOG...", type=click.Path())
_reading = _all(
    _option(
        "--encoding",
        section=SECTIONS[2],
        metavar="NAME",
        help="Of the text, such as gb18030 or latin-1.  [default: UTF-8, or UTF-16 if it is]",
    ),
    _option("--entry-pattern", section=SECTIONS[2], metavar="RE2", help="What the lines match that start an entry."),
)
_cutting = _all(
    _option("--max-sequence-length", section=SECTIONS[2], type=int, metavar="N", help="Entries per sequence."),
    _option(
        "--window-seconds",
        section=SECTIONS[2],
        type=float,
        metavar="S",
        help="Cut sequences by time instead of by count.",
    ),
    _option(
        "--session-pattern",
        section=SECTIONS[2],
        metavar="RE2",
        help="Gather sessions by the identifier that this matches.",
    ),
)
_model = _all(
    _option(
        "--model",
        section=SECTIONS[3],
        metavar="FOLDER|NAME",
        help="Checkpoint: a folder, or a name on the Hub.  [default: built in]",
    ),
    _option(
        "--trust-remote-code",
        section=SECTIONS[3],
        is_flag=True,
        help="Run code that the checkpoint names beside LogMoE's own; it can do whatever you can.",
    ),
)
_device = _option(
    "--device", section=SECTIONS[3], metavar="NAME", help="Such as cpu or cuda:0.  [default: a GPU if there is one]"
)
# How findings are given, by `scan` and `report`.
_reporting = _all(
    _option(
        "-o",
        "--output",
        section=SECTIONS[1],
        multiple=True,
        metavar="FILE",
        type=click.Path(),
        help="Write the findings to a file as well, in the format of its extension: .html, .jsonl, .sarif, .xml "
        "(JUnit), .md, .txt; may be repeated.",
    ),
    _option(
        "--format",
        "form",
        section=SECTIONS[1],
        type=click.Choice(FORMATS),
        default="text",
        help="Of what is printed.  [default: text]",
    ),
    _option(
        "--by",
        section=SECTIONS[1],
        type=click.Choice(ORDERS),
        default=ORDERS[0],
        help="Order of the findings.  [default: strength]",
    ),
    _option(
        "--limit",
        section=SECTIONS[1],
        type=click.IntRange(min=1),
        default=20,
        metavar="N",
        help="Findings that are shown, at most.  [default: 20]",
    ),
    _option(
        "--lines",
        section=SECTIONS[1],
        type=click.IntRange(min=1),
        default=3,
        metavar="N",
        help="Entries that are shown of each, the most telling.  [default: 3]",
    ),
    _option("--fail-on-finding", section=SECTIONS[1], is_flag=True, help="Exit with 1 if there is a finding."),
)
_speaking = _all(
    _option("-q", "--quiet", is_flag=True, help="Show the answer and errors only."),
    _option("-v", "--verbose", is_flag=True, help="Say what the work took, and where errors come from."),
    _option(
        "--color",
        type=click.Choice(("auto", "always", "never")),
        default="auto",
        help="Colours; auto: on a terminal, unless NO_COLOR is set.  [default: auto]",
    ),
)


def run(work: Callable[[], int], console: Any) -> int:
    """Runs what a subcommand does, and says what went wrong; returns the exit code."""
    try:
        with console.answering():
            return work()
    except BrokenPipeError:
        # The reader, perhaps `head`, has seen enough; without this Python complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:  # the way to end --follow
        return 130
    except Exception as error:  # of any kind: an exit code of 1 would mean a finding
        console.error(error)
        return 2


def _console(given: dict[str, Any]) -> Any:
    # The import takes seconds, in which nothing else could be said.
    is_shown = not given["quiet"] and sys.stderr is not None and sys.stderr.isatty()
    if is_shown:
        print("starting …", end="", file=sys.stderr, flush=True)
    try:
        from logmoe.console import Console
    finally:
        if is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return Console(given.pop("quiet"), given.pop("verbose"), given.pop("color"))


# ---------------------------------------------------------------------- the command and its subcommands


@click.group(
    cls=ScanByDefault,
    name="logmoe",
    invoke_without_command=True,
    # Underscored names of options go on working.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),
        "max_content_width": 100,
    },
)
@click.version_option(package_name="logmoe", message="%(prog)s %(version)s")
@click.pass_context
def command(ctx: click.Context) -> int:
    """Finds what is wrong in logs: since when, which lines, and why.

    Give it a log, and a healthy one if there is one; `logmoe LOG` is `logmoe scan LOG`, and a log that is piped in is
    read. `logmoe SUBCOMMAND --help` has all that can be asked.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    if sys.stdin is None or sys.stdin.isatty():
        click.echo(ctx.get_help())
        return 0
    with scan.make_context("scan", ["-"], parent=ctx) as of_scan:
        return scan.invoke(of_scan)


@command.command(
    examples=(
        ("logmoe today.log --baseline yesterday.log", "what yesterday, a healthy day, did not have"),
        ('logmoe /var/log/app "old/*.log.gz" --context 2', "what stands out in each of many logs, lines around it"),
        (
            "logmoe ci.log --baseline green.log --fail-on-finding -o report.sarif -o report.html",
            "exit code 1 if there is a finding, and two reports",
        ),
    ),
    epilog="Exit code: 0, or 2 on an error or if something could not be read; with --fail-on-finding 1 if there is a "
    "finding.",
)
@_logs
@_option(
    "--baseline",
    section=SECTIONS[0],
    multiple=True,
    metavar="GOOD",
    type=click.Path(),
    help="What is healthy: a log, a folder or pattern of logs, or what `logmoe fit` saved; may be repeated.  "
    "[default: what is stored with the checkpoint, or else the log itself, or its wording where it is short]",
)
@_option("--no-baseline", section=SECTIONS[0], is_flag=True, help="Judge by wording alone.")
@_option(
    "--false-alarm-rate",
    section=SECTIONS[0],
    type=float,
    metavar="SHARE",
    help="Of healthy sequences that may be called anomalous; needs --baseline.  [default: 0.01]",
)
@_option(
    "--false-alarms-per-day",
    section=SECTIONS[0],
    type=float,
    metavar="N",
    help="The same as a number for each day; needs a --baseline with times.",
)
@_reporting
@_option(
    "--all", "show_all", section=SECTIONS[1], is_flag=True, help="Show all findings; of sequences, also normal ones."
)
@_option(
    "--context",
    section=SECTIONS[1],
    type=click.IntRange(0, 100),
    metavar="N",
    help="Show so many lines around what is telling.",
)
@_option("--sequences", section=SECTIONS[1], is_flag=True, help="Print anomalous sequences in place of findings.")
@_option(
    "--json",
    "as_json",
    section=SECTIONS[1],
    is_flag=True,
    help="Print one JSON object per line and anomalous sequence.",
)
@_option("--fail-on-anomaly", hidden=True, is_flag=True)
@_option(
    "--follow",
    section=SECTIONS[2],
    is_flag=True,
    help="Read what comes from now on as the file grows, is truncated or replaced.",
)
@_option("--from-start", section=SECTIONS[2], is_flag=True, help="With --follow, read what is there already, too.")
@_reading
@_cutting
@_option(
    "--stride",
    section=SECTIONS[2],
    type=int,
    metavar="N",
    help="Entries from the start of a sequence to the start of the next.",
)
@_model
@_option(
    "--threshold",
    section=SECTIONS[3],
    type=float,
    metavar="P",
    help="Smallest probability of an anomaly to report; at 0.5 the promise on false alarms ends.",
)
@_option("--max-log-entry-length", section=SECTIONS[3], type=int, metavar="N", help="Tokens per entry.")
@_option("--batch-size", section=SECTIONS[3], type=int, metavar="N", help="Sequences per call of the model.")
@_option(
    "--dtype",
    section=SECTIONS[3],
    type=click.Choice(("auto", "float32", "bfloat16")),
    default="auto",
    help="Precision; auto: bfloat16 if that is fast and the model large enough to gain.  [default: auto]",
)
@_device
@_option(
    "--ray",
    section=SECTIONS[4],
    is_flag=False,
    flag_value="",
    metavar="[ADDRESS]",
    help="Judge files on a Ray cluster, at auto, HOST:PORT or ray://HOST:PORT; needs `pip install 'logmoe[ray]'`.  "
    "[default: the one that Ray finds, or a new one on this machine]",
)
@_option(
    "--results",
    section=SECTIONS[4],
    metavar="FOLDER|URL",
    type=click.Path(),
    help="With --ray, where Parquet goes: a row for each file and for each finding.",
)
@_option("--resume", section=SECTIONS[4], is_flag=True, help="With --ray, go on with what --results holds already.")
@_option(
    "--ray-option",
    section=SECTIONS[4],
    multiple=True,
    metavar="NAME=VALUE",
    help="Of Ray's actors, as map_batches takes it: concurrency, num_cpus, num_gpus, memory, …; may be repeated.",
)
@_speaking
@click.pass_context
def scan(ctx: click.Context, logs: tuple[str, ...], **given: Any) -> int:
    """Finds what is wrong in logs of any size.

    LOG is a file (also .gz, .bz2, .xz, .zst), a folder, a pattern, or - for standard input. A log is judged against
    --baseline; without one against itself; and one too short for that by its wording.
    """
    baseline = given["baseline"]
    if baseline and given["no_baseline"]:
        raise click.UsageError("--baseline and --no-baseline exclude each other.")
    if given["false_alarm_rate"] is not None and given["false_alarms_per_day"] is not None:
        raise click.UsageError("--false-alarm-rate and --false-alarms-per-day exclude each other.")
    for name in ("false_alarm_rate", "false_alarms_per_day"):
        # A checkpoint of one's own may hold a reference.
        if given[name] is not None and not baseline and not given["model"]:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"{option} needs --baseline: only healthy logs can tell how often they look anomalous."
            )
    if (given["as_json"] or given["sequences"]) and (given["form"] != "text" or given["output"]):
        raise click.UsageError("--json and --sequences print sequences: they go with neither --format nor --output.")
    if given["ray"] is None:
        for name in ("results", "resume", "ray_option"):
            if given[name]:
                raise click.UsageError(f"--{name.replace('_', '-')} goes with --ray.")
        for name in ("ray", "results", "resume", "ray_option"):
            del given[name]
    else:
        return _scan_on_ray(logs, given)
    if not logs:
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("Missing argument 'LOG...': name a log, or pipe one in.")
        logs = ("-",)
    if given["follow"] and (len(logs) != 1 or not os.path.isfile(logs[0])):
        raise click.UsageError(f"--follow needs exactly one file, got {', '.join(logs)}.")
    if given["from_start"] and not given["follow"]:
        raise click.UsageError("--from-start goes with --follow.")
    if given["context"] is not None and ("-" in logs or given["follow"] or given["sequences"] or given["as_json"]):
        raise click.UsageError("--context reads a log once more: it goes with findings in files, not in streams.")
    if [*logs, *baseline].count("-") > 1:
        raise click.UsageError("Standard input (-) can be read only once.")
    if "-" in [*logs, *baseline] and sys.stdin is None:
        return 2  # closed by the caller, and there may be nowhere to say so
    given["fail_on_finding"] |= given.pop("fail_on_anomaly")
    console = _console(given)

    def work() -> int:
        from logmoe.scan_command import scan

        return scan(logs, console=console, **given)

    return run(work, console)


def _scan_on_ray(logs: tuple[str, ...], given: dict[str, Any]) -> int:
    """`logmoe scan --ray`; what stands behind --ray and is no address is a log."""
    address = given.pop("ray") or None
    if address is not None and not _RAY_ADDRESS.fullmatch(address):
        logs, address = (address, *logs), None
    for name in ("follow", "from_start", "sequences", "as_json", "context"):
        if given.pop(name) not in (False, None):
            option = "json" if name == "as_json" else name.replace("_", "-")
            raise click.UsageError(f"--{option} does not go with --ray.")
    if not logs:
        raise click.UsageError("Missing argument 'LOG...': --ray needs files, folders, patterns or URLs of them.")
    if "-" in logs:
        raise click.UsageError("--ray judges files: standard input (-) can be read by one process only.")
    if not given["results"]:
        raise click.UsageError("--ray needs --results FOLDER, for the rows of files and findings.")
    ray_options: dict[str, Any] = {}
    for one in given.pop("ray_option"):
        name, is_given, value = one.partition("=")
        if not (name.isidentifier() and is_given):
            raise click.UsageError(f"--ray-option must be NAME=VALUE, got {one!r}.")
        try:
            ray_options[name] = json.loads(value)
        except ValueError:  # a word
            ray_options[name] = value
    given["fail_on_finding"] |= given.pop("fail_on_anomaly")
    console = _console(given)

    def work() -> int:
        from logmoe.ray_command import scan_on_ray

        return scan_on_ray(logs, console, address, ray_options=ray_options, **given)

    return run(work, console)


@command.command(
    examples=(
        ("logmoe fit yesterday.log -o shop.reference", "learn from one healthy log"),
        ("logmoe fit good/ monday.log.gz -o shop.reference", "from a folder of logs and a file"),
        ("logmoe fit shop.reference tuesday.log -o shop.reference", "add another healthy day to what was learned"),
    ),
    epilog="The reference holds masked text of the logs: share it as you would the logs.",
)
@click.argument("good", nargs=-1, required=True, metavar="GOOD...", type=click.Path())
@_option(
    "-o",
    "--output",
    required=True,
    section=SECTIONS[0],
    metavar="REFERENCE",
    type=click.Path(),
    help="Folder to save the reference in.",
)
@_option(
    "--max-reference-entries",
    section=SECTIONS[0],
    type=int,
    metavar="N",
    help="Most entries to keep; of more, every so manyth sequence.  [default: 131,072]",
)
@_reading
@_cutting
@_model
@_device
@_speaking
def fit(good: tuple[str, ...], **given: Any) -> int:
    """Learns from healthy logs what is usual, for `logmoe LOG --baseline REFERENCE`.

    GOOD is as LOG for `logmoe scan`, or a saved reference, to merge.
    """
    console = _console(given)

    def work() -> int:
        from logmoe.fitting_command import fit

        return fit(good, console=console, **given)

    return run(work, console)


@command.command(
    examples=(
        ("logmoe explain server.log", "how its first 20 entries were read"),
        ("logmoe explain server.log --all --json | jq .masked", "the masked text of each entry"),
        ("logmoe explain legacy.log --encoding gb18030", "whether the encoding is right"),
    ),
)
@click.argument("logs", nargs=-1, required=True, metavar="LOG...", type=click.Path())
@_option("--all", "show_all", section=SECTIONS[1], is_flag=True, help="Show every entry.  [default: the first 20]")
@_option("--json", "as_json", section=SECTIONS[1], is_flag=True, help="Print one JSON object per entry.")
@_reading
@_model
@_speaking
def explain(logs: tuple[str, ...], **given: Any) -> int:
    """Shows how a log is read: its entries, with time, severity and masked text, before any model sees them."""
    console = _console(given)

    def work() -> int:
        from logmoe.explaining import explain

        return explain(logs, console=console, **given)

    return run(work, console)


@command.command(
    examples=(
        ("logmoe serve --reference shop=shop.reference", "answer on this machine, against what is healthy here"),
        ("curl -X POST -T today.log 'localhost:8000/findings?reference=shop'", "ask it"),
        ("logmoe serve --host 0.0.0.0 --token-file token", "answer other machines that show a token"),
        ("logmoe serve --max-megabytes 1024 --max-seconds 900", "take larger logs"),
    ),
)
@_option(
    "--host",
    section=SECTIONS[1],
    default="127.0.0.1",
    metavar="ADDRESS",
    help="To listen at; one that other machines reach needs a token.  [default: 127.0.0.1]",
)
@_option(
    "--port",
    section=SECTIONS[1],
    type=click.IntRange(0, 65535),
    default=8000,
    metavar="N",
    help="0 takes a free one.  [default: 8000]",
)
@_option(
    "--token-file",
    section=SECTIONS[1],
    metavar="FILE",
    type=click.Path(),
    help="Holds the bearer token that clients must show.  [default: the variable LOGMOE_TOKEN]",
)
@_option("--without-token", section=SECTIONS[1], is_flag=True, help="Serve other machines without one.")
@_option(
    "--reference",
    section=SECTIONS[0],
    multiple=True,
    metavar="NAME=GOOD",
    help="A healthy log that requests can name; GOOD as for --baseline; may be repeated.",
)
@_option(
    "--max-references",
    section=SECTIONS[0],
    type=click.IntRange(min=1),
    default=16,
    metavar="N",
    help="That clients can add.  [default: 16]",
)
@_option(
    "--max-megabytes",
    section=SECTIONS[2],
    type=click.IntRange(min=1),
    default=256,
    metavar="N",
    help="Largest log, as it is sent.  [default: 256]",
)
@_option(
    "--max-seconds",
    section=SECTIONS[2],
    type=click.IntRange(min=1),
    default=300,
    metavar="N",
    help="For sending a log, and again for judging it.  [default: 300]",
)
@_option(
    "--max-requests",
    section=SECTIONS[2],
    type=click.IntRange(min=1),
    default=512,
    metavar="N",
    help="Received, waiting or judged at once.  [default: 512]",
)
@_option("--encoding", section=SECTIONS[2], metavar="NAME", help="Of the healthy logs.")
@_model
@_device
@_speaking
def serve(**given: Any) -> int:
    """Answers over HTTP what is wrong in logs; needs `pip install 'logmoe[serve]'`.

    Asked at POST /findings; what can be asked is described at /docs.
    """
    console = _console(given)

    def work() -> int:
        from logmoe.serve_command import serve

        return serve(console, **given)

    return run(work, console)


@command.command(
    examples=(
        ("logmoe accept shop.reference < fine.jsonl", "what the page collected as fine"),
        (
            "logmoe accept shop.reference f945b2c081e0 --findings today.jsonl --until 2027-01-31",
            "one, for a while",
        ),
        ("logmoe accept shop.reference --list", "what is accepted"),
    ),
    epilog="Without ids, lines of JSON are read from standard input: those that the page collects, or findings.",
)
@click.argument("reference", type=click.Path())
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_option(
    "--findings",
    multiple=True,
    metavar="FILE",
    type=click.Path(),
    help="Lines of JSON that say what the ids stand for; may be repeated.",
)
@_option(
    "--until", metavar="DATE", help="Report these findings again from then on: a date, to its end, or a date-time."
)
@_option(
    "--like",
    metavar="OTHER",
    type=click.Path(),
    help="Accept what is accepted in another reference, such as the one that this one replaces.",
)
@_option("--undo", is_flag=True, help="Report these findings again at once.")
@_option("--list", "show", is_flag=True, help="List what is accepted; change nothing.")
@_speaking
def accept(reference: str, ids: tuple[str, ...], **given: Any) -> int:
    """Leaves out what is fine, from now on, where logs are judged against REFERENCE."""
    console = _console(given)

    def work() -> int:
        from logmoe.accept_command import accept

        return accept(reference, ids, **given)

    return run(work, console)


@command.command(
    examples=(
        ("logmoe report findings.jsonl -o report.html", "the page of what `logmoe LOG -o findings.jsonl` found"),
        ("logmoe report monday.jsonl tuesday.jsonl --by time", "two runs as one report"),
        ("logmoe report - --format markdown < findings.jsonl", "for the comment on a change"),
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FINDINGS...", type=click.Path())
@_reporting
@_option("--all", "show_all", section=SECTIONS[1], is_flag=True, help="Show all findings.")
@_speaking
def report(files: tuple[str, ...], show_all: bool, **given: Any) -> int:
    """Writes findings in another format.

    FINDINGS are files of JSON lines as `logmoe LOG -o FILE.jsonl` writes them, or - for standard input.
    """
    console = _console(given)
    if show_all:
        given["limit"] = None

    def work() -> int:
        from logmoe.report_command import report

        return report(files, console, **given)

    return run(work, console)


@command.command(
    examples=(
        ("logmoe completion bash >> ~/.bashrc", "for Bash 4.4 or later"),
        ("logmoe completion zsh >> ~/.zshrc", "for Z shell"),
        ("logmoe completion fish > ~/.config/fish/completions/logmoe.fish", "for fish"),
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Prints what a shell needs to complete subcommands, options and files."""
    from click.shell_completion import get_completion_class

    of_shell = get_completion_class(shell)
    assert of_shell is not None
    click.echo(of_shell(command, {}, "logmoe", "_LOGMOE_COMPLETE").source())
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script `logmoe`; returns the exit code."""
    if sys.stdout is None:
        return 2  # closed by the caller
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a character must not end the run
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return command.main(None if argv is None else list(argv), prog_name="logmoe", standalone_mode=False) or 0
    except click.Abort:
        return 130
    except SystemExit:  # how click ends when the reader of a help has seen enough
        return 0
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            print(error.ctx.get_usage(), f"Try '{error.ctx.command_path} --help'.", sep="\n", file=sys.stderr)
        message = error.format_message()
        message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        print(f"error: {message}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
