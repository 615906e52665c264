"""Severity words: what `--hide_severity` masks, and what the baseline "severity word" takes for an alarm."""

# On some logs the word alone gives the label away.
SEVERITY_MASK = {
    "pattern": r"(?i)\b(?:trace|debug|info|information|notice|warn|warning|err|error|severe|crit|critical|alert|emerg"
    r"|emergency|fatal|failure|panic)\b",
    "replacement": "<SEVERITY>",
    "phrase": "severity",
}
ALARM_PATTERN = r"(?i)\b(?:err|error|severe|crit|critical|alert|emerg|fatal|panic|failure|failed|exception)\b"
