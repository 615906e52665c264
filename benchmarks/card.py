"""Writes the model card of the default checkpoint: what it finds in the example, and what `accuracy.py` measured.

    python benchmarks/card.py            # again whenever the checkpoint, its words or results/accuracy.json change

A test holds the card equal to what this writes.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accuracy_store import model_digest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the recordings are no part of the installed package

from logmoe import LogAnomalyPipeline
from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline
from logmoe.training.card import FINDINGS_CODE, Figures, general_card, output_of
from logmoe.training.episodes import training_services
from recordings.corpus import SERVICES

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accuracy.json"
# Of the recordings, as the checkpoint has its name: the owner comes with the push, see recordings/README.md.
DATASET = "logmoe-recordings"
PICTURE = ROOT / "docs" / "images" / "report.png"
# Kinds of references, as `accuracy.py` calls them, in words.
AGAINST = {
    "earlier": "fault-free stretches of earlier recordings",
    "twin": "a healthy run",
    "both": "both of these",
    "self": "the log itself",
    "none": "its wording alone",
}
DETECTORS = (
    "LogMoE",
    "gradient boosting on LogMoE's features",
    "sum of ranks, untrained",
    "1-NN distance",
    "new template",
    "severity words",
)


def figures(content: dict[str, Any]) -> list[Figures]:
    """What the card quotes of the results of `accuracy.py`."""
    quoted = []
    for kind, words in AGAINST.items():
        measured = content["parts"]["recordings"]["result"]["judged_against"][kind]["detectors"]
        auroc = {name: measured[name]["auroc"][0] for name in DETECTORS if name in measured}
        quoted.append(Figures(kind, words, auroc, measured["LogMoE"]["called_healthy"][0]))
    return quoted


def results(model: str, path: Path = RESULTS) -> dict[str, Any] | None:
    """The results that are of this checkpoint, by its digest; None if there are none."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    part = content.get("parts", {}).get("recordings", {})
    return content if part.get("model") == model else None


def card(pipe: LogAnomalyPipeline, name: str, content: dict[str, Any] | None, dataset: str = DATASET) -> str:
    """The card of a checkpoint, with the results that are known."""
    written = general_card(
        pipe.model.config,
        pipe.model.num_parameters(),
        training_services(SERVICES),
        name,
        figures(content) if content else (),
        output_of(FINDINGS_CODE, pipe, ROOT / "examples"),
        PICTURE.name,
        dataset,
    )
    return f"{written}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?", default=Path(DEFAULT_CHECKPOINT), help="its folder")
    parser.add_argument("--dataset", metavar="NAME", default=DATASET, help="of the recordings on the Hub: OWNER/NAME")
    options = parser.parse_args(arguments)
    pipe = load_pipeline(options.checkpoint, device="cpu")
    content = results(model_digest(pipe.model))
    if content is None:
        print(
            f"{RESULTS.name} has no results of this checkpoint: the card quotes none. Run `make accuracy` first.",
            file=sys.stderr,
        )
    text = card(pipe, options.checkpoint.resolve().name, content, options.dataset)
    (options.checkpoint / "README.md").write_text(text, encoding="utf-8")
    (options.checkpoint / PICTURE.name).write_bytes(PICTURE.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
