"""The default masks, as data: what of an entry varies and what stands in its place.

As the other rules (`rules_logmoe.py`) they are saved with the checkpoint. All patterns are RE2, applied to whole Arrow
columns. To mask something new, add an item to `MASKS`.
"""

import re
from typing import Any

from .rules_logmoe import CLOCK, COLOUR, MONTH, TIMESTAMP, WEEKDAY, ZONE, severity_alternatives

# An optional mask: in some logs the severity alone gives the label away.
SEVERITY_MASK = {
    "pattern": rf"(?i)\b(?:{severity_alternatives()})\b",
    "replacement": "<SEVERITY>",
    "phrase": "severity",
}

# Seconds or milliseconds since 1970, and Hadoop's digits: a time where a timestamp belongs, a number elsewhere.
_BARE_TIMESTAMP = r"(?:1\d{9}(?:\.\d+|\d{3})?|\d{6} \d{6})\b"
_BARE_PLACE = r"""(?:^[\s\[<("]*|"(?:ts|time|timestamp)": ?"?|\b(?:ts|time|timestamp)=)"""

# What is kept, for 200 and 502 are not the same news, stands in brackets until the end: ⟦status⟧, ⟪code⟫. No mask of
# numbers looks into them.
_KEPT = "[^⟦⟪"
_METHOD = r"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PROPFIND|REPORT|PURGE)"
_METHODS = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PROPFIND "]
_METHODS += ["REPORT ", "PURGE "]
_ENDS = r"""([\s,;"'}\])<\\，。；）]|$)"""
# In prose no unit and no noun may follow: `status 500 MB`, `completed 200 requests`.
_PROSE_ENDS = (
    r"""([;)\]}"'\\]|[.,:](?:[\s"']|$)|$|\n| (?:[A-Z][a-z]|[A-Z]{3}|OK\b|[(\[<"-])"""
    r"| (?:for|from|in|on|at|to|after|with|by|and|while|when|but|url)\b| (?:text|application)/)"
)
_REASON = (
    r"(?:OK|No Content|Partial Content|Moved|See Other|Not Modified|Temporary Redirect|Permanent Redirect|Bad Request"
    r"|Unauthorized|Payment Required|Forbidden|Not Found|Method Not Allowed|Not Acceptable|Request Time-?[oO]ut"
    r"|Length Required|Precondition Failed|Payload Too Large|Request Entity|Unsupported Media|Too Many Requests"
    r"|Unprocessable|Internal Server Error|Not Implemented|Bad Gateway|Service (?:Temporarily )?Unavailable"
    r"|Gateway Time-?[oO]ut|Client (?:Error|Closed)|Server Error)"
)
# Where an HTTP status stands: what is before it, what is after it, and what the mask requires. Times, addresses and
# URLs are masked by then.
_STATUS_PLACES: list[tuple[str, str, list[str]]] = [
    # Access logs: combined, Envoy, uvicorn, uWSGI; with any request, even none.
    (r"""(HTTP/[\d.]+\\?"?,? (?:status: )?)""", _ENDS, ["HTTP/"]),
    (r"""(>\] "(?:[^"\\]|\\.)*" )""", r"( (?:-|\d))", ['>] "']),
    # Fields with a name: JSON, logfmt, W3C, XML.
    (
        r"""((?:\b[\w.]*(?:[sS]tatus[ _]?(?:[cC]ode)?|STATUS(?:_?CODE)?|[rR]esponse_?[cC]ode|http_?[cC]ode)"""
        r"""|状态码?|返回码|响应码|ステータス(?:コード)?)\\?["']?\s*"""
        r"""(?:=>?|[:：>])\s*\\?["']?)""",
        _ENDS,
        ["tatus", "TATUS", "esponse", "http", "状态", "码", "ステータス"],
    ),
    # morgan, Go, ASP.NET, npm
    (
        rf"""\b({_METHOD} (?:<URL>(?: -)*|(?:/|\*)[^\s"]*)"?:? (?:HTTP/[\d.]+"? )?(?:from \S+ - )?"""
        r"""(?:responded )?\(?)""",
        r"""(\)|,| - [-\da-z]| \d|$| (?:[A-Z]{3}|[A-Z][a-z]|[(\[<"]|in |[a-z]+/[a-z]))""",
        _METHODS,
    ),
    (rf"\b({_METHOD} )", "( <URL>)", _METHODS),
    (r"(<TIME>\]? ?\| *)", r"( *\|)", [">|", "> |", ">]"]),  # Gin, Fiber
    (r"(\[<TIME>\] )", rf"( - +\S+ {_METHOD} )", _METHODS),
    (r"( -?\d+(?:/[-+]?\d+){3,4} )", r"( )", ["/"]),  # HAProxy
    (r"\b((?:TCP|UDP|NONE|TAG)[A-Z_]*/)", r"( )", ["TCP_", "UDP_", "NONE", "TAG_"]),  # Squid
    # AWS load balancers: their own status, then the target's.
    (r"((?:<IP>|-) (?:-?[\d.]+ ){3})", r'( (?:\d{3}|-) \d+ \d+ ")', [' "']),
    (r"(<IP> (?:-?[\d.]+ ){3}⟦\d{3}⟧ )", r'( \d+ \d+ ")', ["⟧ "]),
    # W3C without its fields line: status, substatus, the system's status, time taken.
    (rf"^(<TIME> .*\b{_METHOD} \S+ .* )", r"((?: \d+){2,3})$", _METHODS),
    # Prose
    (
        r"(\bHTTP "
        r"|(?i:\bhttps?[ _-]?(?:error|status|response|return|code)(?: (?:status|error|response))?(?: code)?:? )"
        r"|(?i:\bstatus(?: code)?(?: is| was| of)?:? |\bresponse(?: status)?(?: code)?:? |\bcompleted "
        r"|\brespon(?:se|ded)(?: with)?(?: status)?(?: code)?:? |\breturned (?:error: |status |code )"
        r"|\brequest finished in \S+ ))",
        _PROSE_ENDS,
        ["TTP", "ttp", "tatus", "TATUS", "ompleted", "COMPLETED", "espon", "ESPON", "eturned", "RETURNED", "inished"],
    ),
    (r"""(^|[\s"'=(:])""", rf"(:? {{1,2}}\(?{_REASON})", [" OK"] + [f" {c}" for c in "BCFGILMNPRSTU"] + [" ("]),
    (r"(<HTTP_[A-Z_]+> )", r"(\D|$)", ["<HTTP_"]),  # masked before
]
# What a process said when it ended and what the system told it: what is before the code, the code, what is after it.
_CODE_ENDS = r"""([\s,;)\]}"'\\]|[.:](?:[\s"']|$)|$)"""
_EXIT_PLACES: list[tuple[str, str, str, list[str]]] = [
    # Severities that are numbers: pino, bunyan, GELF, OpenTelemetry.
    (
        r"""(\\?"(?i:level(?:no)?|severity(?:_?number)?|lvl|priority)\\?"\s*:\s*\\?"?"""
        r"""|\b(?i:level(?:no)?|severity|lvl|priority)=\\?"?)""",
        r"(\d{1,2})",
        r"""([\s,;)\]}"'\\]|$)""",
        ["evel", "EVEL", "everity", "EVERITY", "lvl", "riority"],
    ),
    (
        r"((?i:\bexit(?:ed|ing|s)?(?: with| on| from)?(?: a)?(?: non-zero)?(?: return)? (?:code|status|value|signal)"
        r"|\b(?:last)?exit[_-]?(?:code|status|value)|\breturn(?:ed)?[ _-]?(?:(?:a )?non-zero )?(?:exit )?"
        r"(?:code|status|value)|\berrno|\brc|\bsig(?:nal)?(?: number)?|\bgrpc[-_.](?:status|code)(?:[_-]?code)?"
        r"""|\bsqlcode)\\?["']?[ =:]{1,3}(?:exit status: )?\\?["']?\(?-?)""",
        r"(\d{1,5})",
        r"(\b)",
        ["xit", "XIT", "eturn", "ETURN", "rrno", "RRNO", "rc", "RC", "ig", "IG", "grpc", "qlcode", "QLCODE"],
    ),
    (r"((?i:\bexit(?:ed|ing|s)?(?: with| on)?)[ =:]{1,2}\(?-?)", r"(\d{1,3})", _PROSE_ENDS, ["xit", "XIT"]),
    (r"(\breturned )", r"(\d{1,3})", r"([.,;)]?$)", ["returned "]),
    (r"(\(|curl: \()", r"(\d{1,3})", r"(: [A-Z][a-z]|\)[A-Z][a-z]|\) The )", ["("]),  # nginx, Apache, curl
    (r"(\bstatus=)", r"(\d{1,3})", r"(/[A-Z])", ["status="]),  # systemd
    (r"(\b(?:(?:ORA|TNS|PLS|RMAN|MY)-|AH))", r"(\d{5,6})", r"(\b)", ["ORA-", "TNS-", "PLS-", "RMAN-", "MY-", "AH"]),
    # Numbers of messages: Cisco, WebLogic and IBM, GlusterFS, Windows.
    (r"(%[A-Z][A-Z0-9_]*(?:-[A-Z0-9_]+)*-)", r"(\d)", r"(-[A-Z0-9_]+:)", ["%"]),
    (r"(%[A-Z]+-⟪\d⟫-)", r"(\d{6})", r"(:)", ["⟫-"]),
    (
        r"(\b(?:BEA-|AMQ|CSQ[A-Z]|CWW[A-Z]{1,3}|DFH[A-Z]{0,2}|DSN[A-Z]|IE[AEF]|SRVE|SQL))",
        r"(\d{3,6})",
        r"(>|[A-Z]\b)",
        ["BEA-", "AMQ", "CSQ", "CWW", "DFH", "DSN", "IEA", "IEE", "IEF", "SRVE", "SQL"],
    ),
    (
        r"""((?i:\bmsgid|\bevent[ _]?(?:id|code))\\?["']?\s?[=:>]\s*\\?["']?)""",
        r"(\d{1,6})",
        r"""([\s,;)\]}"'\\<]|$)""",
        ["MSGID", "msgid", "vent", "VENT"],
    ),
]
# The same, unless it is an HTTP status.
_CODE_PLACES: list[tuple[str, str, str, list[str]]] = [
    (r"((?i:\bcode)\\?[\"']?\s*[ =:]\s*\\?[\"']?-?)", r"(\d{1,5})", _PROSE_ENDS, ["ode", "ODE"]),
    (r"(\bcode=\\?[\"']?)", r"(\d{1,5})", _CODE_ENDS, ["code="]),
    # Errors that the system, a database or a library numbers.
    (r"(\w(?:Error|Exception)\()", r"(\d{1,5})", r"(, [\"'])", ["Error(", "Exception("]),
    (r"((?i:\berror:?) )", r"(\d{1,5})", r"([,;)\]}\"']|[.:](?:\s|$)|$| \()", ["rror", "RROR"]),
    (r"((?i:\b(?:ret|err|error|returned|failed))[=: ]{1,2}\(?-)", r"(\d{1,3})", _CODE_ENDS, ["-"]),
]
# No trouble is other news than some: `failed=0`, `Errors: 0`, `0 failed`. What is before the number and behind it; of
# a key with a colon no word, as in "Error: 0 pieces". The next key's first letter may be part of a match: twice.
_TROUBLE = r"(?i:fail(?:s|ed|ing|ures?)?|err(?:or)?s?|crash(?:es|ed)?|unreachable|corrupt(?:ed)?|lost)"
_TROUBLE_LITERALS = ["ail", "AIL", "rr", "RR", "rash", "RASH", "nreach", "NREACH", "orrupt", "ost", "OST"]
_TROUBLE_KEY = (
    rf"(\b[\w.]*{_TROUBLE}(?i:[_ ]?(?:counts?|total|tests?|tasks?|jobs?|requests?|files?|rows?|items?|checks?))?"
    r"""\\?["']?\s?"""
)
_NONE_PLACES: list[tuple[str, str]] = [
    (rf"""{_TROUBLE_KEY}=\\?["']?)""", _CODE_ENDS),
    *[(rf"""{_TROUBLE_KEY}:\s{{0,8}}\\?["']?)""", r"""([,;)\]}"'\\]|\s*$|\n| +(?:[A-Z|(]|[\w-]+[=:]))""")] * 2,
    (r"(^|[\s(\[{,;])", rf"( (?:[a-zA-Z]+ )?{_TROUBLE}(?:\(s\))?(?:[\s,;.)\]|]|$))"),
]
_OWN_ID = r"(?i:\b(?:req(?:uest)?|trace|span|correlation|invocation|err)[-_]?id)"
_STATE = "".join([r"([0-9A-Z])"] * 5)
_KEPT_STATE = "".join(rf"⟪\{n}⟫" for n in range(2, 7))
_IPV6_GROUPS = r"(?::[0-9a-fA-F]{1,4})"


def _words_with(part: str, characters: str, length: int) -> str:
    """A pattern of words of at least so many characters that hold two characters `part`."""
    here = [f"{characters}{{{n}}}{part}{characters}{{{length - 2 - n},}}" for n in range(length - 2)]
    return "|".join([*here, f"{characters}{{{length - 2},}}{part}{characters}*"])


# Digits and letters of one case, eight or more, with a digit behind a letter: hexadecimal, and neither a word nor a
# number with a unit.
_LONG_HEX = "|".join(_words_with(f"[{letters}][0-9]", f"[0-9{letters}]", 8) for letters in ("a-f", "A-F"))
# In capitals six are enough if a letter is behind a digit.
_CAPITAL_HEX = _words_with("[0-9][A-F]", "[0-9A-F]", 6)
# Where case and digits change as in no name: with a digit, without one, and the last in capitals alone.
_RANDOM_DIGIT = "(?:[0-9][A-Z]|[0-9][a-z]{1,2}[A-Z]|[a-z][A-Z][0-9])"
_RANDOM_CASE = f"(?:[a-z][A-Z]{{2}}|[A-Z][a-z][A-Z]|{_RANDOM_DIGIT})"
_RANDOM_ANY = f"(?:[0-9][a-z]|{_RANDOM_CASE})"


def _random_word(letters: int, *parts: str) -> str:
    """A pattern of words with these parts in this order, and between them no more than so many small letters in a row.

    Names are made of words, and hardly a name of 16 characters is made of short ones only.
    """
    between = rf"(?:[a-z]{{0,{letters}}}[A-Z0-9_+/-])*[a-z]{{0,{letters}}}"
    return between + "".join(part + between for part in parts)


# Letters of both cases, but not as in Utf8ToUtf16Converter.
_SHORT_WORDS = "(?:[a-z]{0,4}[A-Z])+[a-z]{0,4}|[a-z]{1,4}"
_RANDOM_WORD = "|".join(
    [
        rf"[\w+-]*(?:{_RANDOM_CASE}[\w+-]*){{4}}",
        _random_word(4, *[_RANDOM_CASE] * 3),
        *(_random_word(5, *[_RANDOM_ANY] * n, _RANDOM_DIGIT, *[_RANDOM_ANY] * (2 - n)) for n in range(3)),
        _random_word(4, _RANDOM_DIGIT, _RANDOM_ANY),
        _random_word(4, _RANDOM_ANY, _RANDOM_DIGIT),
        _random_word(3, _RANDOM_DIGIT),
    ]
)
_BASE64_PART = "(?:[0-9][A-Za-z]|[a-z][A-Z]{2}|[A-Z]{2}[a-z]|[+])"
# What a file's name is made of, what was masked before included.
_NAME = r"(?:[\w.@%+~-]|<HEX>|<UUID>)"
# Chinese, Japanese and Korean put no space behind a path.
_WIDE = r"\x{2E80}-\x{9FFF}\x{AC00}-\x{D7AF}\x{FF00}-\x{FFEF}"
_CONSONANT = "bcdfghjklmnpqrstvwxz"
_UNIT_OF_TIME = r"(?:[nuµμm]s|s|m|m?secs?|mins?|hrs?)"

PLACEHOLDER = re.compile(r"<[A-Z_]+>")

# Applied in this order. `phrase` says in plain words what the placeholder stands for: its embedding starts as the mean
# of the phrase's word pieces. A mask with `requires` is applied where a text holds one of these literals, which is
# found far faster than a pattern.
MASKS: list[dict[str, Any]] = [
    {"pattern": COLOUR, "replacement": "", "requires": ["\x1b["]},
    # A sequence of letters and digits that says who asks: a JSON web token.
    {
        "pattern": r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?",
        "replacement": "<TOKEN>",
        "phrase": "token",
        "requires": ["eyJ"],
    },
    {
        "pattern": r"\b(?:[a-zA-Z][a-zA-Z0-9+-]{1,15}://|jdbc:[a-z]+:)[!#-&(*+\-./0-9:=?@A-Z\[\\^_`a-z{|~]+",
        "replacement": "<URL>",
        "phrase": "url",
        "requires": ["://", "jdbc:"],
    },
    # Characters as JSON writes them: colours go, letters stay.
    {
        "pattern": r"\\(?:u001[bB]|x1[bB]|033|e)\[[0-9;]*m",
        "replacement": "",
        "requires": ["\\u001", "\\x1", "\\033", "\\e["],
    },
    # What a browser says it is, spaces written as such or as plus signs.
    {
        "pattern": (
            r"\bMozilla/\d[\w.]*(?:[ +]\([^()\"|}]*\)?)?"  # a captured header may be cut
            r"(?:[ +](?:[A-Za-z][\w.-]*/[\w.-]+|Mobile)(?:[ +]\([^()\"|}]*\)?)?)*"
        ),
        "replacement": "<AGENT>",
        "phrase": "browser",
        "requires": ["Mozilla/"],
    },
    # Bytes that are no text, as nginx and others write them.
    {
        "pattern": (r"\\(?:x|u00)(?:0[0-9a-fA-F]|1[0-9acdefACDEF])(?:[^\s\"]*\\(?:x|u00)[0-9a-fA-F]{2})*"),
        "replacement": "<HEX>",
        "phrase": "hexadecimal number",
        "requires": ["\\x0", "\\x1", "\\u00"],
    },
    {
        "pattern": r"\\u([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])",
        "replacement": r"\\u⟪\1⟫⟪\2⟫⟪\3⟫⟪\4⟫",
        "requires": ["\\u"],
    },
    {
        "pattern": r"(\b|_)[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4,12}\b",
        "replacement": r"\1<UUID>",
        "phrase": "unique identifier",
    },
    # The random end of a pod's name: Kubernetes uses no vowels there, so that it never is a word.
    {
        "pattern": rf"-[{_CONSONANT}0-9]{{8,10}}-[{_CONSONANT}0-9]{{5}}\b",
        "replacement": "-<ID>",
        "phrase": "identifier",
    },
    # Of a pod without a hash, where it is called a pod.
    {
        "pattern": rf"(\bpods?[ =:/\"']{{1,3}}(?:[\w.-]+/)?(?:[a-z0-9.]+-)+)[{_CONSONANT}0-9]{{5}}(_|\b)",
        "replacement": r"\1<ID>\2",
        "phrase": "identifier",
        "requires": ["pod"],
    },
    {
        "pattern": (
            rf"-[{_CONSONANT}][{_CONSONANT}0-9]"
            rf"(?:[0-9][{_CONSONANT}][{_CONSONANT}0-9]|[{_CONSONANT}0-9][0-9][{_CONSONANT}])\b"
        ),
        "replacement": "-<ID>",
        "phrase": "identifier",
    },
    # Windows' status and error codes, letter by letter: as hexadecimal numbers they would go.
    {
        "pattern": (
            r"((?i:\b(?:code|error|status|exception|hresult|exit(?:ed)?(?: with)?)[\"']?\s?[ =:(]{1,2}[\"']?\(?))"
            r"0(x)([8cC])0([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F]{3})\b"
        ),
        "replacement": r"\1⟪0⟫\2⟪\3⟫⟪0⟫⟪\4⟫⟪\5⟫⟪\6⟫⟪⟫\7",
        "requires": ["0x8", "0xc", "0xC"],
    },
    {
        "pattern": r"⟪⟫([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])\b",
        "replacement": r"⟪\1⟫⟪\2⟫⟪\3⟫",
        "requires": ["⟪⟫"],
    },
    # Early, for these are what tells most entries apart: the masks below then see each text once.
    # Any digit before the x: a pattern that names a digit must look at each text for itself.
    {"pattern": r"\b\d[xX][0-9a-fA-F]+\b", "replacement": "<HEX>", "phrase": "hexadecimal number"},
    {"pattern": rf"\b(?:{_LONG_HEX}|{_CAPITAL_HEX})\b", "replacement": "<HEX>", "phrase": "hexadecimal number"},
    # A session of PostgreSQL, a network interface of a container, an association of IPsec.
    {
        "pattern": r"<HEX>\.[0-9a-f]{1,6}\b|(\bveth)[0-9a-f]{7}\b|\b[0-9a-f]{8}(_[io])\b|(-)[a-f]{8}\b",
        "replacement": r"\1\3<HEX>\2",
        "phrase": "hexadecimal number",
        "requires": ["<HEX>.", "veth", "_i", "_o", *(f"-{letter}" for letter in "abcdef")],
    },
    # Exim's numbers of mails, Dovecot's of sessions, Zeek's of connections, Kubernetes' of mounts, Elasticsearch's of
    # indices.
    {
        "pattern": r"\b\d[0-9A-Za-z]{5}-[0-9A-Za-z]{6}(?:[0-9A-Za-z]{5})?-[0-9A-Za-z]{2}(?:[0-9A-Za-z]{2})?\b",
        "replacement": "<ID>",
        "phrase": "identifier",
    },
    {
        "pattern": (
            r"(\bsession=)<[\w+/]{8,}=*>|(\bkube-api-access-)[a-z0-9]{5}\b|(\[[\w.-]+/)[\w-]{22}(\])"
            r"|(\buid\\?[\"']?[=:] ?\\?[\"']?)C[0-9A-Za-z]{16,17}\b"
        ),
        "replacement": r"\1\2\3\5<ID>\4",
        "phrase": "identifier",
        "requires": ["session=<", "kube-api-access-", "]", "uid"],
    },
    # A mail's number in a queue, whatever its characters.
    {
        "pattern": r"(\]: |(?:queued|forwarded) as )[0-9A-F]{6,12}(: |\))",
        "replacement": r"\1<HEX>\2",
        "phrase": "hexadecimal number",
        "requires": ["]: ", "ed as "],
    },
    # A fingerprint, of 128 bits or more, before its parts become hardware addresses.
    {
        "pattern": r"\b[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){15,}\b",
        "replacement": "<HEX>",
        "phrase": "hexadecimal number",
        "requires": ["ingerprint", "FINGERPRINT", "SHA", "sha", "MD5", "md5"],
    },
    {
        "pattern": r"\b[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}\b",
        "replacement": "<MAC>",
        "phrase": "hardware address",
    },
    {
        "pattern": rf"\b(?:{TIMESTAMP}|\d{{4}}[-/.]\d{{2}}[-/.]\d{{2}}\b|{CLOCK}\b)",
        "replacement": "<TIME>",
        "phrase": "time",
    },
    # What belongs to a time: half of the day, zone, the date behind it; a browser's zone; the day of the week. To look
    # for literals would take longer than the patterns do.
    {
        "pattern": (
            rf"<TIME>(?:[ \x{{A0}}\x{{202F}}]?[AaPp]\.?[Mm]\b\.?{ZONE}"
            rf"|(?: [A-Z]{{3,4}})? {WEEKDAY}[a-z]* {MONTH}[a-z]* +\d{{1,2}}(?: \d{{4}})?\b)"
        ),
        "replacement": "<TIME>",
        "phrase": "time",
    },
    {
        "pattern": r"<TIME>[+-]\d{2}:?\d{2}\b(?: \([A-Za-z ]+\))?",
        "replacement": "<TIME>",
        "phrase": "time",
        "requires": ["GMT+", "GMT-", "UTC+", "UTC-"],
    },
    {"pattern": rf"\b{WEEKDAY}[a-z]*,? <TIME>(?:, <TIME>)?", "replacement": "<TIME>", "phrase": "time"},
    {"pattern": rf"({_BARE_PLACE}){_BARE_TIMESTAMP}", "replacement": r"\1<TIME>", "phrase": "time"},
    {
        "pattern": r"(?:<HEX>|\b[\w+-])(?:[\w.+-]|<HEX>)*@[\w-]+(?:\.[\w-]+)+\b",
        "replacement": "<EMAIL>",
        "phrase": "email address",
        "requires": ["@"],
    },
    # Behind a key the domain may be a single word; elsewhere user@database is a name.
    {
        "pattern": r"([=<])[\w.+-]+@[\w-]+\b",
        "replacement": r"\1<EMAIL>",
        "phrase": "email address",
        "requires": ["@"],
    },
    {
        "pattern": r"\b(?:[0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2}){5}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4})\b",
        "replacement": "<MAC>",
        "phrase": "hardware address",
    },
    {
        # IPv4, full IPv6, and shortened IPv6 of the ranges in use: `std::string` and `a1::b` are not addresses.
        "pattern": (
            r"(?:::ffff:)?\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:[:/]\d{1,5})?\b"
            r"|\[?\b(?:(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"
            rf"|(?:[23][0-9a-fA-F]{{3}}|[fF][cCdDeEfF][0-9a-fA-F]{{2}}){_IPV6_GROUPS}{{0,6}}:"
            rf"(?:{_IPV6_GROUPS}{{1,7}}|:))"
            r"(?:%\w+)?(?:\]:\d{1,5}|\]|/\d{1,3}\b)?"
            r"|\[?\B::1\b(?:\]:\d{1,5}|\])?"
        ),
        "replacement": "<IP>",
        "phrase": "ip address",
    },
    *(
        {"pattern": f"{before}{code}{after}", "replacement": r"\1⟪\2⟫\3", "requires": literals}
        for before, code, after, literals in _EXIT_PLACES
    ),
    *(
        {"pattern": rf"{before}(\d{{3}}){after}", "replacement": r"\1⟦\2⟧\3", "requires": literals}
        for before, after, literals in _STATUS_PLACES
    ),
    *(
        {"pattern": f"{before}{code}{after}", "replacement": r"\1⟪\2⟫\3", "requires": literals}
        for before, code, after, literals in _CODE_PLACES
    ),
    *(
        {"pattern": f"{before}0{after}", "replacement": r"\1⟪0⟫\2", "requires": _TROUBLE_LITERALS}
        for before, after in _NONE_PLACES
    ),
    {
        "pattern": rf"((?i:sqlstate)\\?[\"']?[ =:\[(]+[\"']?|\b(?:ERROR|FATAL|PANIC): +){_STATE}\b",
        "replacement": r"\1" + _KEPT_STATE,
        "requires": ["qlstate", "QLSTATE", "qlState", "QLState", "ERROR: ", "FATAL: ", "PANIC: "],
    },
    {"pattern": rf"(⟫ \(){_STATE}\)", "replacement": rf"\1{_KEPT_STATE})", "requires": ["⟫ ("]},
    # Padded base64.
    {
        "pattern": (
            rf"""(^|[\s"'=:(\[,])(?:[\w+/-]{{6,}}{_BASE64_PART}[\w+/-]*|[\w+/-]*{_BASE64_PART}[\w+/-]{{6,}})={{1,2}}"""
            r"""($|[\s"',;)\]}])"""
        ),
        "replacement": r"\1<TOKEN>\2",
        "phrase": "token",
        "requires": ["="],
    },
    {
        "pattern": (
            rf"""(^|[a-z\s=-]>|[\s"'=(\[:,]|[^\x00-\x7F])"""
            rf"""(?:[A-Za-z]:\\(?:[^\s"'<>|,;)=\]{_WIDE}]|<HEX>)*|~?(?:/{_NAME}+){{2,}}/?(?:[?#][!#-&(-~]*)?"""
            rf"""|(?:{_NAME}+/)+{_NAME}+\.(?:[a-z][A-Za-z0-9]{{0,5}}|[A-Z]{{2,4}})\b)"""  # relative, with an extension
        ),
        "replacement": r"\1<PATH>",
        "phrase": "file path",
    },
    {
        "pattern": r"@[0-9a-f]{5,8}\b",
        "replacement": "@<HEX>",
        "phrase": "hexadecimal number",
        "requires": ["@"],
    },
    # Long words of capitals and digits at random, such as base64 that is not padded; then file names of a letter and a
    # number.
    {"pattern": r"""(^|[\s"'=(\[,:;{|.$])([\w+/-]{16,})""", "replacement": r"\1⟨\2⟩"},
    {
        "pattern": (
            r"((?i:id|token|session|nonce|secret|cookie|ticket|etag|signature|bearer)[\"']?[=:] ?[\"']?)"
            r"⟨[\w+/-]*(?:[0-9][\w+/-]*[A-Z]|[A-Z][\w+/-]*[0-9])[\w+/-]*⟩"
            r"|((?i:token|nonce|secret)[\"']?[=:] ?[\"']?)"
            r"⟨[\w+/-]*(?:[a-z][\w+/-]*[A-Z]|[A-Z][\w+/-]*[a-z])[\w+/-]*⟩"
        ),
        "replacement": r"\1\2<ID>",
        "phrase": "identifier",
        "requires": ["⟨"],
    },
    {
        "pattern": rf"⟨[\w+/-]*(?:{_RANDOM_CASE}[\w+/-]*){{6}}⟩",
        "replacement": "<ID>",
        "phrase": "identifier",
        "requires": ["⟨"],
    },
    {
        "pattern": r"⟨([\w+/-]*[A-Z][a-z]{6,}[\w+/-]*)⟩",  # hardly at random
        "replacement": r"\1",
        "requires": ["⟨"],
    },
    {"pattern": f"⟨(?:{_RANDOM_WORD})⟩", "replacement": "<ID>", "phrase": "identifier", "requires": ["⟨"]},
    {"pattern": "[⟨⟩]", "replacement": "", "requires": ["⟨", "⟩"]},
    {"pattern": r"\b[a-z]\d{2,}(\.[a-z]\w{1,7})\b", "replacement": r"<ID>\1", "phrase": "identifier"},
    # Whatever it looks like, behind a key that says so: a counter to the base of 36 would be a duration now and then.
    {
        "pattern": (
            rf"""({_OWN_ID}(?:\\?["']?: ?\\?["']|=\\?["']?))[\w.+/-]*[A-Za-z][\w.+/=-]*"""
            rf"|({_OWN_ID}: )[\w.+/-]*(?:\d[\w.+/-]*[A-Za-z]|[A-Za-z][\w.+/-]*\d)[\w.+/=-]*"  # words stay
        ),
        "replacement": r"\1\2<ID>",
        "phrase": "identifier",
        "requires": ["req", "Req", "REQ", "race", "RACE", "pan", "PAN", "orrelation", "nvocation", "err"],
    },
    # An identifier such as blk_-160 keeps its name whatever the sign.
    {"pattern": r"\b([A-Za-z]+_)-?\d+\b", "replacement": r"\1<NUM>", "phrase": "number"},
    # Of `width=160 ms=162` the first number is no duration: what follows it is a key.
    {
        "pattern": r"(\d )((?:[nuµμm]s|m?secs?|(?:(?:nano|micro|milli)?sec|min)(?:ond|ute)?s?|hours?|hrs?|days?)=)",
        "replacement": r"\1⟪⟫\2",
        "requires": ["s=", "sec=", "min=", "hour=", "hr=", "day=", "second=", "minute="],
    },
    {
        "pattern": (
            rf"(^|{_KEPT}\w.])(?:(?:\d+(?:[.,]\d+)?{_UNIT_OF_TIME}|\d{{1,4}}[hd])+"
            r"|\d+(?:[.,]\d+)? (?:[nuµμm]s|m?secs?|(?:(?:nano|micro|milli)?sec|min)(?:ond|ute)?s?|hours?|hrs?|days?)"
            r"|P(?:\d+D)?T(?:\d+(?:\.\d+)?[HMS])+)\b"
        ),
        "replacement": r"\1<DURATION>",
        "phrase": "duration",
    },
    {
        "pattern": r"(?:<DURATION> )+<DURATION>",
        "replacement": "<DURATION>",
        "phrase": "duration",
        "requires": ["<DURATION> <"],
    },
    # How long a test took, in brackets.
    {
        "pattern": r"\(\d+(?:\.\d+)? s\)",
        "replacement": "(<DURATION>)",
        "phrase": "duration",
        "requires": [" s)"],
    },
    {
        "pattern": rf"(^|{_KEPT}\w.])\d+(?:[.,]\d+)? ?(?:[KMGTPEkmgtp]i?[Bb](?:ytes)?|[Bb]ytes?|B|[KMGT]i?|[PE]i|k)\b",
        "replacement": r"\1<SIZE>",
        "phrase": "size",
    },
    {"pattern": rf"(^|{_KEPT}\w])\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?\b", "replacement": r"\1<NUM>", "phrase": "number"},
    # Eight digits or more, or the seven of a short hash such as git's, with a decimal digit among them.
    {
        "pattern": (
            r"\b(?:[0-9a-fA-F]*(?:[0-9][0-9a-fA-F]{7}|[0-9a-fA-F][0-9][0-9a-fA-F]{6}|[0-9a-fA-F]{2}[0-9][0-9a-fA-F]{5}"
            r"|[0-9a-fA-F]{3}[0-9][0-9a-fA-F]{4}|[0-9a-fA-F]{4}[0-9][0-9a-fA-F]{3}|[0-9a-fA-F]{5}[0-9][0-9a-fA-F]{2}"
            r"|[0-9a-fA-F]{6}[0-9][0-9a-fA-F]|[0-9a-fA-F]{7}[0-9])[0-9a-fA-F]*"
            r"|\d[0-9a-f]{6}|[a-f]\d[0-9a-f]{5}|[a-f]{2}\d[0-9a-f]{4}|[a-f]{3}\d[0-9a-f]{3}"
            r"|[a-f]{4}\d[0-9a-f]{2}|[a-f]{5}\d[0-9a-f])\b"
        ),
        "replacement": "<HEX>",
        "phrase": "hexadecimal number",
    },
    # Identifiers, unlike words that hold a number: letters follow digits twice (7f1c2d3, x2k9q).
    {
        "pattern": (
            r"\b(?:[a-z]*(?:[0-9]+[a-z]+){2,}|[A-Z]*(?:[0-9]+[A-Z]+){2,}"
            rf"|(?:{_SHORT_WORDS})?(?:[0-9]+(?:{_SHORT_WORDS})){{2,}})(?:[A-Z0-9_-][\w-]*)?\b"
        ),
        "replacement": "<ID>",
        "phrase": "identifier",
    },
    {"pattern": rf"(^|{_KEPT}\d])\d+(?:[.,]\d+)*", "replacement": r"\1<NUM>", "phrase": "number"},
    # A progress bar: how far it is, what is left.
    {
        "pattern": r"\|[ █▏▎▍▌▋▊▉]{4,}\|",
        "replacement": "||",
        "requires": ["█", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "|    "],
    },
    {
        "pattern": r"\[(?:<TIME>|<NUM>:<NUM>)<[^\]]{0,48}(?:it/s|s/it|/s|/it)\]",
        "replacement": "[<DURATION>]",
        "phrase": "duration",
        "requires": ["it/s]", "s/it]"],
    },
    {"pattern": r"[\s\p{Z}]+", "replacement": " "},
    # jest and mocha say how long a test took where it was slow.
    {"pattern": r"^( ?[✓✔√] .*\S) \(<DURATION>\)$", "replacement": r"\1", "requires": ["✓", "✔", "√"]},
    # Of a line in the middle of others the rules on its sides are as long as its numbers allow.
    {
        "pattern": r"^(?:(=)={3,}|(_)_{3,}|(-)-{3,}|(!)!{3,}) (.*<[A-Z]+>.*) (?:={4,}|_{4,}|-{4,}|!{4,})$",
        "replacement": r"\1\2\3\4 \5 \1\2\3\4",
        "requires": ["=== ", "___ ", "--- ", "!!! "],
    },
    # A list means the same however long it is.
    {"pattern": r"(^|[^\w>])<NUM>(?:[,;:|/ ]{1,2}[+-]?<NUM>){2,}", "replacement": r"\1<NUM>", "phrase": "number"},
    *(
        {"pattern": rf"⟦({codes})⟧", "replacement": rf"<{name}> \1", "phrase": phrase, "requires": ["⟦"]}
        for codes, name, phrase in (
            (r"2\d\d", "HTTP_SUCCESS", "success"),
            (r"[13]\d\d", "HTTP_REDIRECT", "moved"),
            ("404", "HTTP_NOT_FOUND", "not found"),
            ("40[13]", "HTTP_FORBIDDEN", "forbidden"),
            (r"4\d\d", "HTTP_CLIENT_ERROR", "bad request"),
            ("50[234]", "HTTP_UNAVAILABLE", "unavailable"),
            (r"5\d\d", "HTTP_SERVER_ERROR", "server error"),
        )
    ),
    {"pattern": r"⟦\d+⟧", "replacement": "<NUM>", "phrase": "number", "requires": ["⟦"]},
    # Of a text that was masked before.
    {"pattern": "(?:<HTTP_[A-Z_]+> )+(<HTTP_[A-Z_]+> )", "replacement": r"\1", "requires": ["> <HTTP_"]},
    {"pattern": "[⟦⟧⟪⟫]", "replacement": "", "requires": ["⟧", "⟫"]},
]
