"""Log statements of source packages: what sounds bad in logs, labelled for free by the name of the function.

    python -m training.statements -o statements.parquet

takes Debian's source packages named in packages.txt, finds the calls that log (`log_error("cannot open %s", path)`,
`LOG.warn(…)`, `syslog(LOG_INFO, …)`) and writes their texts with their levels. Placeholders of format strings become
those of the masks, or words as a log would hold them. Needs apt, a Debian mirror, and some minutes; nothing is built
or executed. The texts belong to their packages: keep the script and the list, not the texts.
"""

import argparse
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from logmoe.parsing_logmoe import LogParser

PACKAGES = Path(__file__).with_name("packages.txt")

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("level", pa.string()),
        ("label", pa.int8()),
        ("package", pa.string()),
        ("licence", pa.string()),
    ]
)

LABELS = {"debug": 0, "info": 0, "warning": 1, "error": 1}


# --- levels ----------------------------------------------------------------------------------------------------------

_LEVELS = {
    "debug": "debug debugf debugw debugln dbg dbgprintf dprintf trace tracef verbose fine finer",
    "info": "info infof infow infoln information informational inform notice noticef",
    "warning": "warn warnf warnw warnln warnx warning warningf",
    "error": "err errf errx error errorf errorw errorln exception crit critical criticalf severe emerg alert panic "
    "panicf fatal fatalf fatalw fatalln die",
}
_LEVEL_OF = {word: level for level, words in _LEVELS.items() for word in words.split()}

# Names that hold a level and log nothing: `set_error("…")`, `is_debug("…")`, `new WarningDialog("…")`.
_NOT_LOGGING = frozenset(
    "get set has is if check test assert expect parse match find clear reset add register enable disable handle throw "
    "throws raise make new create with dialog label class count str to from on string html json xml page exists "
    "lookup".split()
)
_LOGS = re.compile(r"log|msg|message|print|report|trace|err|warn|write|out|audit", re.IGNORECASE)
# A level among the arguments before the text: LOG_ERR, PCMK_LOG_WARNING, Level.WARNING, LogCritical, Logger::Error.
_LEVEL_ARGUMENT = re.compile(
    r"\b(?:[A-Z0-9]+_)*(EMERG|ALERT|CRIT|CRITICAL|ERR|ERROR|FATAL|PANIC|WARN|WARNING|NOTICE|INFO|DEBUG|DBG|TRACE|VERBOSE|"
    r"FINE|SEVERE)\b|\b(?:Log|Level\.|Logger::|logging\.|level::)(Critical|Error|Err|Fatal|Warning|Warn|Notice|Info|"
    r"Information|Debug|Trace)\b"
)


def _words_of(name: str) -> list[str]:
    """The words of an identifier: `nm_logWarn2` → nm, log, warn."""
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())


def level_of(name: str, arguments: str = "") -> str | None:
    """The level at which a call logs, None if it does not log or does not say.

    Args:
        name: what is called, with its object or namespace: `logger.warn`, `nm_log_err`.
        arguments: the arguments before the text.
    """
    last = re.split(r"\.|->|::|\?", name)[-1]
    words = _words_of(last)
    if _NOT_LOGGING.intersection(words):
        return None
    # Verbose by number (`DEBUG(0, …)`) says nothing: low numbers are errors.
    if re.match(r"\s*\d+\s*,", arguments) and words[:1] in (["debug"], ["trace"]):
        return None
    if _LOGS.search(name) and (found := list(_LEVEL_ARGUMENT.finditer(arguments))):
        return _LEVEL_OF[(found[-1][1] or found[-1][2]).lower()]
    return next((_LEVEL_OF[word] for word in words if word in _LEVEL_OF), None)


# --- source text -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Language:
    """How a family of languages writes strings and comments.

    `scripting`: Perl and Ruby, which need no parentheses around arguments and put values into strings.
    """

    string: str
    comment: str
    scripting: bool = False


_DOUBLE = r'"(?:\\.|[^"\\\n])*"'
_SINGLE = r"'(?:\\.|[^'\\\n])*'"
_CHARACTER = r"'(?:\\.|[^'\\\n])'"
_C = Language(_DOUBLE, r"//[^\n]*|/\*.*?\*/")
LANGUAGES = {
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".java", ".scala"), _C),
    ".go": Language(rf"{_DOUBLE}|`[^`]*`", _C.comment),
    ".py": Language(rf'(?:\b[fFrRbBuU]{{1,2}})?(?:"""(?:\\.|[^\\])*?"""|{_DOUBLE}|{_SINGLE})', r"#[^\n]*"),
    **dict.fromkeys(
        (".pl", ".pm", ".in", ".rb"), Language(rf"{_DOUBLE}|{_SINGLE}", r"(?m:(?<![$\\\w&])#[^\n]*)", True)
    ),
    ".erl": Language(r'"(?:\\.|[^"\\])*"', r"%[^\n]*"),
}
_SKIPPED_FOLDERS = re.compile(
    r"(?:^|/)(?:[\w.-]*tests?|testing|testsuite|testdata|t|e2e|integration|mocks?|fakes?|fuzz(?:ing)?|vendor|third[_-]?party|"
    r"node_modules|external|examples?|samples?|demos?|bench(?:marks?)?|docs?|debian|po|locales?)/",
    re.IGNORECASE,
)
_SKIPPED_FILES = re.compile(r"(?:^|/)(?:test_[^/]*|[^/]*_tests?\.[^/]*|[^/]*Tests?\.java|conftest\.py)$")
_LARGEST_FILE = 2_000_000  # bytes; what is larger is generated

_CALL = re.compile(
    r"(?P<before>(?:\b(?:raise|new|throw|def|func|function|sub)\s+)+)?"
    r"(?P<name>[A-Za-z_?][\w?]*(?:(?:\.|->|::|\(\)\.)[A-Za-z_]\w*)*)(?P<open>\s*\(|\s*<<)?"
)
_BARE = re.compile(r"\s{1,2}(?=[\"']|_\()")


def _without_comments(source: str, language: Language) -> str:
    kept = re.compile(rf"(?P<kept>{language.string}|{_CHARACTER})|{language.comment}", re.DOTALL)
    return kept.sub(lambda found: found["kept"] or " ", source)


def _unquoted(literal: str) -> tuple[str, bool]:
    """The text of a string literal, and whether names in braces are values."""
    prefix = re.match(r"[fFrRbBuU]*", literal)[0]  # type: ignore[index]
    body = literal[len(prefix) :]
    body = body[3:-3] if body.startswith('"""') and len(body) >= 6 else body[1:-1]
    if "r" not in prefix.lower() and not literal.startswith("`"):
        body = re.sub(r"\\\n\s*|\\[nrtvfb0]|\\x[0-9a-f]{2}|\\e\[[\d;]*m|\\033\[[\d;]*m", " ", body)
        body = re.sub(r"\\(.)", r"\1", body)
    return body, "f" in prefix.lower()


@dataclass(frozen=True)
class Statement:
    """One call that logs: its text as a log would hold it, and its level."""

    text: str
    level: str


def mine(source: str, suffix: str) -> Iterator[Statement]:
    """The log statements of a source file, in order.

    Args:
        source: its text.
        suffix: of its name, one of `LANGUAGES`.
    """
    language = LANGUAGES[suffix]
    source = _without_comments(source, language)
    # Go kit: level.Warn(logger).Log("msg", …)
    source = re.sub(r"\blevel\.(\w+)\(([\w.]+)\)\.Log\(", r"\2.\1(", source)
    tokens = re.compile(
        rf"(?P<string>{language.string})|(?P<character>{_CHARACTER})|(?P<mark>[()\[\]{{}},;]|<<)", re.DOTALL
    )
    end = 0
    for call in _CALL.finditer(source):
        if call.start() < end or call["before"]:
            continue
        streams = (call["open"] or "").endswith("<<")
        if not call["open"]:
            if not (language.scripting and (bare := _BARE.match(source, call.end()))):
                continue
            start = bare.end()
        else:
            start = call.end()
        if not (_LOGS.search(call["name"]) or level_of(call["name"])) and not (streams and call["name"] == "L"):
            continue
        for message in _messages(
            source, start, tokens, bare=not call["open"], sigils=language.scripting, streams=streams
        ):
            if (text := _worded(message)) is None:
                continue
            if level := level_of("log" if streams else call["name"], message.before):
                yield Statement(text, level)
                end = message.end
            break


@dataclass(frozen=True)
class _Message:
    """A text in a call, with what came before it and what follows it there."""

    pieces: list[str]
    before: str
    after: str
    end: int


def _messages(
    source: str, start: int, tokens: re.Pattern, *, bare: bool, sigils: bool, streams: bool
) -> Iterator[_Message]:
    """The texts among the arguments from `start` on: strings, joined where only values stand between them."""
    stop = min(len(source), start + 2000)
    if bare and (line := re.compile(r"[^,.+\\(\s]\s*\n").search(source, start, stop)):
        stop = line.end()
    depth, position = 0, start
    pieces: list[str] = []
    opened, before = 0, start  # where the message began
    waiting: tuple[list[str], int, int] | None = None  # a message that waits for what follows it, its start and end
    for token in tokens.finditer(source, start, stop):
        mark = token["mark"]
        if token["string"] is not None:
            if waiting is not None and not pieces:
                yield _Message(
                    waiting[0], source[start : waiting[1]], source[waiting[2] : token.start()], token.start()
                )
                waiting = None
            if pieces:
                pieces.append(_joined(source[position : token.start()]))
            else:
                opened, before = depth, token.start()
            body, names = _unquoted(token["string"])
            pieces.append(_interpolated(body, names=names, sigils=sigils))
            position = token.end()
        elif mark in ("(", "[", "{"):
            depth += 1
        elif mark in (")", "]", "}"):
            depth -= 1
            if depth < 0 and not bare:
                rest = _STREAM.match(source, token.start())
                if rest is None or streams or len(re.findall("[A-Za-z]{2,}", "".join(pieces))) > 1:
                    stop = token.start()
                    break
                # `LOG(ERROR) << "text"`: the text follows the call.
                streams, depth, position, pieces = True, 0, rest.end(), []
        elif mark == ";" or (mark == "," and pieces and depth <= opened):
            if mark == ";":
                stop = token.start()
                break
            if _is_value(source[position : token.start()]):
                pieces.append(_joined(source[position : token.start()]))
            waiting, pieces = (pieces, before, token.end()), []
            position = token.end()
    if pieces:
        tail = source[position:stop]
        if _is_value(tail) and not re.fullmatch(r"[\s<]*(?:std::)?(?:endl|dendl|flush)\s*", tail):
            pieces.append(_joined(re.sub(r"<<\s*(?:std::)?(?:endl|dendl|flush)\s*$", "", tail)))
        yield _Message(pieces, source[start:before], "", stop)
    elif waiting is not None:
        yield _Message(waiting[0], source[start : waiting[1]], source[waiting[2] : stop], stop)


_STREAM = re.compile(r"\)\s*<<")


def _is_value(between: str) -> bool:
    return bool(re.match(r"\s*(?:\+|\.|<<)\s*\w", between))


# --- words -----------------------------------------------------------------------------------------------------------

_NAMES = ("main", "default", "store", "worker", "primary", "backup", "alice", "local")
_REASONS = (
    *("Connection refused", "Permission denied", "No such file or directory", "Connection timed out"),
    *("Invalid argument", "Input/output error", "Device or resource busy", "Connection reset by peer"),
)
_REASON = re.compile(
    r"strerror|errno|%m|\berr(?:or)?(?:_?(?:str|msg|text|message))?\b|\bexc?\b|exception|\be\b|\bwhat\(|gai_|reason|\bwhy\b",
    re.IGNORECASE,
)
_KINDS = (
    (re.compile(r"\b(?:u?u?id|uuid|guid)s?\W*$", re.I), "<ID>"),
    (
        re.compile(r"\b(?:file|path|dir|directory|folder|socket|config|open|load|read from|written to)\w*\W*$", re.I),
        "<PATH>",
    ),
    (re.compile(r"(?:addr|address|host|ip|peer|client|remote|from|server)\W*$", re.I), "<IP>"),
    (re.compile(r"\bur[li]\W*$", re.I), "<URL>"),
    (
        re.compile(
            r"(?:port|count|number|num|size|len|length|line|pid|fd|code|status|version|bytes|seconds|rc|ret|ms)\W*$",
            re.I,
        ),
        "<NUM>",
    ),
)
# Marks of a value in a text under construction: private characters, which no source holds.
_VALUE, _NUMBER, _HEXADECIMAL, _WHY = "\ue000", "\ue001", "\ue002", "\ue003"


def _joined(between: str) -> str:
    """What stands for the expression between two strings, of which the text of a log would hold the value."""
    inner = re.sub(r"^[\s+.<~]+|[\s+.<~]+$", "", between)
    if not re.search(r"\w", inner):
        return ""
    if re.fullmatch(r"(?:PRI|SCN|PG_)\w+|[A-Z]+_FMT|[A-Z]*FORMAT\w*", inner):  # C: "%" PRIu64
        return "d"
    if re.fullmatch(r"_\(?|N_\(?|(?:std::)?endl", inner):
        return " "
    return _value_of(inner)


def _value_of(expression: str) -> str:
    if _REASON.search(expression):
        return _WHY
    for pattern, placeholder in _KINDS:
        if pattern.search(re.sub(r"\(\s*\)|[)\]}]", "", expression)):
            return placeholder
    return _VALUE


def _interpolated(body: str, *, names: bool, sigils: bool) -> str:
    """The text of a string with its own values replaced: f-strings, `#{…}`, `$name`."""
    if names:
        body = re.sub(r"\{([^{}]*)\}", lambda found: _value_of(found[1].split(":")[0].split("!")[0]), body)
    if sigils:
        value = r"#\{([^}]*)\}|[$@]\{?(\w+(?:->)?(?:[{\[][^}\]]*[}\]])*)\}?"
        body = re.sub(value, lambda found: _WHY if "$!" in found[0] else _value_of(found[1] or found[2] or ""), body)
        body = re.sub(r"\$[!@]", _WHY, body)
    return body


_SPECIFIERS = re.compile(
    r"0x%[-+#0-9.*]*(?:hh|h|ll|l|z|j|t|q|I64)?[xXud]|(?P<number>%[-+#0-9.*]*(?:hh|h|ll|l|z|j|t|q|L|I64)?[diufgeEGF])"
    r"|(?P<hex>%[-+#0-9.*]*(?:hh|h|ll|l|z|j|t|q)?[xXp])|(?P<why>%m\b|%w\b)"
    r"|%(?:\(|\{)(?P<key>\w+)(?:\)[-0-9.]*[sdrifxu]|\})|\{(?P<field>[a-zA-Z_][\w.]*|\d*)(?:![rsa])?(?::[^{}]*)?\}"
    r"|(?P<value>%[-+#0-9.*]*(?:\d+\$)?(?:l|h)?[svqrcTUtnSYDI]|%p[A-Za-z]+|~[-0-9.]*[pwstcbB]|%%)"
)


_UNIT = re.compile(r"\s?(?:m?s|sec(?:ond)?s?|min(?:ute)?s?|hours?|days?|bytes|[kKMG]i?B|%%|times|entries)\b")


def _worded(message: _Message) -> str | None:
    """A message as a log would hold it, None if it says too little."""
    text = "".join(message.pieces)
    reasons = bool(_REASON.search(message.after))
    parts, position, found = [], 0, list(_SPECIFIERS.finditer(text))
    for number, spec in enumerate(found):
        before = text[:position] + text[position : spec.start()]
        following = text[spec.end() :]
        if spec[0] == "%%":
            value = "%"
        elif spec["number"]:
            value = _NUMBER
        elif spec["hex"] or spec[0].startswith("0x"):
            value = _HEXADECIMAL
        elif spec["why"]:
            value = _WHY
        elif _UNIT.match(following):
            value = _NUMBER
        elif spec["key"] or (spec["field"] and not spec["field"].isdigit()):
            value = _value_of(spec["key"] or spec["field"])
        else:
            last = number == len(found) - 1 and not re.search(r"\w", following)
            value = _WHY if reasons and last else _value_of(before[-30:])
            # A word such as "error" before a value does not make it a reason, but a colon at the end does.
            if value == _WHY and not last:
                value = _VALUE
        parts += [text[position : spec.start()], value]
        position = spec.end()
    text = "".join([*parts, text[position:]])
    text = re.sub(r"\s+", " ", re.sub(r"<\d>|~n", " ", text)).strip()
    plain = re.sub(r"<[A-Z]+>|[\ue000-\ue003]", " ", text)
    words = re.findall(r"[A-Za-z]{2,}", plain)
    if (
        len(words) < 2
        or sum(map(len, words)) < 0.4 * len(plain.replace(" ", ""))
        or not re.search(r"[A-Za-z]\W+[A-Za-z]", plain)
    ):
        return None
    if len(text) > 300 or re.match(r"(?i)usage\b|copyright|<\?|</?[a-z]+>", text) or "_" in text.split(" ")[0] == text:
        return None
    # The same for the same text: no randomness, so that the output is.
    number = zlib.crc32(text.encode())
    text = text.replace(_NUMBER, "<NUM>").replace(_HEXADECIMAL, "<HEX>")
    text = text.replace(_WHY, _REASONS[number % len(_REASONS)])
    names = iter(range(number // 8, number // 8 + 100))
    return re.sub(_VALUE, lambda _: _NAMES[next(names) % len(_NAMES)], text)


# --- packages --------------------------------------------------------------------------------------------------------


def statements_in(files: Iterable[tuple[str, bytes]]) -> Iterator[Statement]:
    """The statements of source files, given by path and content; tests, examples and copies of others are left out."""
    for path, content in files:
        suffix = PurePosixPath(path).suffix
        if suffix not in LANGUAGES or _SKIPPED_FOLDERS.search(path) or _SKIPPED_FILES.search(path):
            continue
        yield from mine(content.decode("utf-8", errors="replace"), suffix)


def read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Path within the package and content of each file of a source archive, in the order of paths."""
    with tarfile.open(path) as archive:
        members = [
            item
            for item in archive.getmembers()
            if item.isfile() and item.size <= _LARGEST_FILE and PurePosixPath(item.name).suffix in LANGUAGES
        ]
        # Read in the archive's own order, for it is compressed as a whole.
        contents = {}
        for item in members:
            file = archive.extractfile(item)
            if file is not None:
                contents[item.name.partition("/")[2]] = file.read()
    yield from sorted(contents.items())


def licence_of(copyright_text: str) -> str:
    """The licence that debian/copyright gives for most of a package, "" where it names none."""
    stanza = re.search(r"(?m)^Files:\s*\*\s*\n(?:.*\n)*?License:[ \t]*(\S.*)$", copyright_text)
    named = stanza or re.search(r"(?m)^License:[ \t]*(\S.*)$", copyright_text)
    return named[1].strip() if named else ""


class Mirror:
    """Debian's source packages, through apt with a configuration of its own.

    Args:
        folder: empty; apt's lists and the packages come here.
        url, suite: where the packages are.

    Raises:
        RuntimeError: there is no apt, or the list of packages cannot be had.
    """

    def __init__(self, folder: Path, url: str = "http://deb.debian.org/debian", suite: str = "bookworm"):
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial", "packages"):
            (folder / name).mkdir(parents=True)
        keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
        signed = f"[signed-by={keyring}] " if keyring.exists() else ""
        (folder / "sources.list").write_text(f"deb-src {signed}{url} {suite} main\n")
        self.url, self.suite = url, suite
        failed = self._apt("update")
        if failed or not any((folder / "lists").glob("*Sources*")):
            raise RuntimeError(f"no list of source packages from {url} {suite}: {failed or 'apt found none'}")

    def _apt(self, *arguments: str) -> str:
        """Runs apt-get; its complaint, "" if it has none."""
        options = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": 3,
        }
        command = [
            "apt-get",
            "--quiet",
            *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        ]
        try:
            done = subprocess.run(
                [*command, *arguments], cwd=self.folder / "packages", capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise RuntimeError(
                "apt-get not found: log statements come from Debian's source packages; run on Debian"
            ) from None
        complaints = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        return "; ".join(complaints) or done.stderr.strip() if done.returncode else ""

    def download(self, package: str) -> tuple[list[Path], str]:
        """The archives of a package's sources, and its licence.

        Raises:
            RuntimeError: it cannot be downloaded; names it.
        """
        known = set((self.folder / "packages").iterdir())
        if failed := self._apt("source", "--download-only", "--only-source", package):
            raise RuntimeError(
                f"the source package {package} cannot be downloaded from {self.url} {self.suite} ({failed}); "
                "mend packages.txt, or leave it out with --skip-missing"
            )
        archives = sorted(path for path in set((self.folder / "packages").iterdir()) - known if ".tar." in path.name)
        archives = [path for path in archives if not path.name.endswith(".asc")]
        return [path for path in archives if ".debian.tar." not in path.name], self._licence(archives)

    @staticmethod
    def _licence(archives: Sequence[Path]) -> str:
        for path in sorted(archives, key=lambda path: ".debian.tar." not in path.name):
            with tarfile.open(path) as archive:
                for item in archive:
                    if item.isfile() and item.name.endswith("debian/copyright"):
                        file = archive.extractfile(item) or io.BytesIO()
                        return licence_of(file.read().decode("utf-8", errors="replace"))
        return ""


# --- table -----------------------------------------------------------------------------------------------------------


def table_of(packages: Mapping[str, tuple[str, Iterable[Statement]]], parser: LogParser | None = None) -> pa.Table:
    """Statements of packages as a table, each text once, in the order of package and text.

    A text in several levels gets that of more than half of its statements; without one it is dropped. It belongs to
    the first package that has it.

    Args:
        packages: licence and statements of each package.
        parser: masks the texts; by default with the default masks.
    """
    levels: dict[str, Counter[str]] = {}
    owner: dict[str, str] = {}
    for package in sorted(packages):
        statements = list(packages[package][1])
        masked = (parser or LogParser()).mask([statement.text for statement in statements]).to_pylist()
        for text, statement in zip(masked, statements, strict=True):
            levels.setdefault(text, Counter())[statement.level] += 1
            owner.setdefault(text, package)
    rows = []
    for text, counts in levels.items():
        level, count = counts.most_common(1)[0]
        if 2 * count > counts.total():
            rows.append((owner[text], text, level))
    rows.sort()
    return pa.Table.from_pydict(
        {
            "text": [text for _, text, _ in rows],
            "level": [level for *_, level in rows],
            "label": [LABELS[level] for *_, level in rows],
            "package": [package for package, *_ in rows],
            "licence": [packages[package][0] for package, *_ in rows],
        },
        SCHEMA,
    )


def package_names(path: Path = PACKAGES) -> list[str]:
    """The packages of a list, one a line; what follows # is a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def build(names: Sequence[str], mirror: Mirror, skip_missing: bool = False) -> pa.Table:
    """The table of all statements of these packages. See `Mirror.download` for errors."""
    packages = {}
    for name in sorted(set(names)):
        try:
            archives, licence = mirror.download(name)
        except RuntimeError as error:
            if not skip_missing:
                raise
            print(f"skipped: {error}", file=sys.stderr)
            continue
        statements = [statement for path in archives for statement in statements_in(read_archive(path))]
        packages[name] = licence, statements
        print(f"{name:24} {len(statements):6,} statements  {licence}", flush=True)
        for path in archives:
            path.unlink()
    return table_of(packages)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Mine log statements from Debian's source packages.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the Parquet file to write")
    parser.add_argument("--packages", type=Path, default=PACKAGES, help="list of packages, one a line")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="where Debian's packages are")
    parser.add_argument("--suite", default="bookworm", help="Debian's release (default: bookworm)")
    parser.add_argument("--skip-missing", action="store_true", help="leave out packages that cannot be downloaded")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            mirror = Mirror(Path(folder), options.mirror, options.suite)
            table = build(package_names(options.packages), mirror, options.skip_missing)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    pq.write_table(table, options.output, compression="zstd")
    counts = Counter(table["level"].to_pylist())
    print(
        f"{options.output}: {table.num_rows:,} texts, " + ", ".join(f"{counts[level]:,} {level}" for level in LABELS)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
