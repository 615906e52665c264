"""What Inference Endpoints run: logs in over JSON, findings out.

The toolkit imports this file from the root of a checkpoint and calls `EndpointHandler(folder)(request)`. It travels
with the other code, and needs nothing but that: the package may be absent.
"""

import hashlib
import json
import os
import threading
from typing import Any

from transformers import pipeline

# Written beside this file as requirements.txt: what an endpoint installs before it starts.
REQUIREMENTS = (
    "torch>=2.9\ntransformers>=5.23,<6\nhuggingface-hub>=2.4,<3\nsafetensors>=0.6\npyarrow>=20\nnumpy>=1.26\n"
)
# Folder of a checkpoint in which its own reference may lie.
REFERENCE_FOLDER = "reference"
PARAMETERS = ("threshold", "reference", "format")
FORMATS = ("findings", "sequences")


class EndpointHandler:
    """Judges logs with the checkpoint it lies in.

    Args:
        path: folder of the checkpoint; by default that of this file.
    """

    def __init__(self, path: str = ""):
        folder = str(path or os.path.dirname(os.path.abspath(__file__)))
        self.pipe = pipeline("log-anomaly", model=folder, trust_remote_code=True)
        self.own = self.pipe.stored_reference  # the pipeline uses it; what is wrong with it is told now
        self._latest: tuple[str, Any] = ("", None)  # the healthy log that was sent last, by its digest
        # One log at a time: two would want the memory of two, and only one healthy log is kept.
        self._lock = threading.Lock()

    def __call__(self, data: dict[str, Any]) -> Any:
        """
        Args:
            data: `inputs`, a log as a text of one or more lines, or as a list of entries; and `parameters`, all
                optional: `threshold`, see the pipeline; `reference`, a healthy log, likewise a text or a list, by
                default the checkpoint's own, or else the log itself (also as `"self"`), and False for the wording
                alone; `format`, `"findings"` (the default) or `"sequences"`.

        Returns:
            A list of records as `findings.schema.json` has them, without `version`; or, as sequences, what the
            pipeline returns for one log.

        Raises:
            ValueError: the request is not of this kind; the toolkit answers with the words.
        """
        if not isinstance(data, dict) or "inputs" not in data:
            raise ValueError('expected {"inputs": log, "parameters": {…}}, the log as a text or as a list of entries')
        given = data.get("parameters") or {}
        if not isinstance(given, dict) or not set(given) <= set(PARAMETERS):
            raise ValueError(f"`parameters` may hold {', '.join(PARAMETERS)}, got {given!r}")
        form = given.get("format") or FORMATS[0]
        if form not in FORMATS:
            raise ValueError(f"`format` must be one of {', '.join(FORMATS)}, got {form!r}")
        log = _log("inputs", data["inputs"])
        threshold = _number("threshold", given.get("threshold"))
        with self._lock:
            options = {"threshold": threshold, "reference": self._reference(given.get("reference"))}
            if form == "sequences":
                return self.pipe([log], **options)[0] if isinstance(log, list) else self.pipe(log, **options)
            found = self.pipe.findings(log, **options)
        records = [{"type": "finding"} | finding.to_dict() for finding in found]
        return [*records, {"type": "summary"} | found.summary.to_dict()]

    def _reference(self, given: Any) -> Any:
        """What the pipeline takes as its reference: never a path, for that may come from anybody."""
        if given is None or given is False or given == "self":
            return given
        log = _log("reference", given)
        key = hashlib.sha256(json.dumps(given).encode()).hexdigest()
        if key != self._latest[0]:
            self._latest = key, self.pipe.fit(log)
        return self._latest[1]


def _log(name: str, given: Any) -> bytes | list[str]:
    """A log as bytes, for the pipeline takes a text of one line for a path; or a list of entries."""
    if isinstance(given, str):
        return given.encode("utf-8", "replace")
    if isinstance(given, list) and given and all(isinstance(entry, str) for entry in given):
        return given
    raise ValueError(f"`{name}` must be a log, as a text or as a list of entries, got {type(given).__name__}")


def _number(name: str, given: Any) -> float | None:
    """A number; the toolkit passes those of a query as texts."""
    try:
        if not isinstance(given, bool):
            return None if given is None else float(given)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"`{name}` must be a number, got {given!r}")
