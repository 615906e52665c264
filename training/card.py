"""What model cards have in common: code that they show with what it prints, and the card of the default checkpoint.

`report` makes the cards of training runs. That of the default checkpoint is written by `general`, and once more by
`benchmarks/card.py`, which knows what was measured.
"""

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from logmoe import LogAnomalyPipeline

TEMPLATE = Path(__file__).with_name("general_card.md")
TAGS = ("log-anomaly", "log-anomaly-detection", "anomaly-detection", "logs", "mixture-of-experts")
# A name on the Hub, such as "org/name"; a path has other characters, or lies there.
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

# Shown in the card of the default checkpoint, and run for it in the folder of the repository's examples.
FINDINGS_CODE = """\
reference = pipe.fit("apache-healthy.log")
for finding in pipe.findings("apache-faulty.log", reference=reference):
    print(f"lines {finding.first_line}-{finding.last_line}, {finding.start}")
    print("   ", finding.reasons[0].text[:105])
    print("   ", finding.entries[0].count, "times", finding.entries[0].text[:90])
"""
# Shown in the card of a trained checkpoint. The log is ours: those that it was trained on may be nobody's business.
SEQUENCES_CODE = '''\
result = pipe("""2024-01-01 10:00:01 INFO [System] Application started successfully
2024-01-01 10:00:02 ERROR [Database] Connection failed: timeout
2024-01-01 10:00:03 ERROR [Database] Retry connection failed""")
print(result["label"], f"{result['score']:.4f}")
for entry in result["sequences"][0]["entries"]:
    print(entry["line"], f"{entry['score']:+.4f}", entry["text"])
'''


def output_of(code: str, pipe: LogAnomalyPipeline, folder: str | Path = ".") -> str:
    """What code prints that uses `pipe`, in a folder."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(code, {"pipe": pipe})
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())


def hub_name(name: str | None) -> str | None:
    """A name, if it is one on the Hub and not a path on this machine."""
    return name if name and _HUB_NAME.fullmatch(name) and not Path(name).exists() else None


# ---------------------------------------------------------------------- the default checkpoint


@dataclass(frozen=True)
class Figures:
    """What was measured of windows of services that the checkpoint has never seen.

    Attributes:
        kind: of what their logs were judged against, as `benchmarks/accuracy.py` calls it.
        against: the same in words.
        auroc: of each detector.
        called: share of the windows of healthy runs that LogMoE calls anomalous; None if it was not measured.
    """

    kind: str
    against: str
    auroc: Mapping[str, float]
    called: float | None = None


def general_card(
    config: Any,
    num_parameters: int,
    services: Sequence[str],
    name: str,
    figures: Sequence[Figures] = (),
    printed: str | None = None,
    picture: str | None = None,
    dataset: str | None = None,
) -> ModelCard:
    """The card of the default checkpoint.

    Args:
        config: of the model.
        num_parameters: of the model.
        services: whose recordings it was trained on.
        name: of the checkpoint's folder or repository.
        figures: what was measured of it.
        printed: what `FINDINGS_CODE` prints.
        picture: file of a picture of the page, beside the card.
        dataset: name of the recordings on the Hub.
    """
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="Log anomaly detection",
            dataset_type=dataset or "recordings",
            dataset_config=figure.kind,  # results of one configuration would be told as one
            dataset_name=f"Apache httpd, Mosquitto, ZooKeeper and BIND, judged against {figure.against}",
            metric_type=metric,
            metric_name=metric_name,
            metric_value=round(value, 3),
        )
        for figure in figures
        for metric, metric_name, value in (
            ("roc_auc", "AUROC of windows of 32 entries", figure.auroc["LogMoE"]),
            ("false_positive_rate", "windows of healthy runs called anomalous", figure.called),
        )
        if value is not None
    ]
    evaluated: dict[str, Any] = {"model_name": "LogMoE", "eval_results": results} if results else {}
    data = ModelCardData(
        license="apache-2.0",
        language="en",
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model="sentence-transformers/all-MiniLM-L6-v2",
        datasets=[dataset] if dataset else None,
        tags=list(TAGS),
        **evaluated,
    )
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        config=config,
        num_parameters=num_parameters,
        services=services,
        name=name,
        code=FINDINGS_CODE,
        printed=printed,
        picture=picture,
        table=_table(figures),
    )


def _table(figures: Sequence[Figures]) -> str:
    if not figures:
        return ""
    # Wording alone is measured with fewer detectors.
    detectors = [name for name in max((figure.auroc for figure in figures), key=len) if name != "LogMoE"]
    rows = [
        ["judged against", "LogMoE", *detectors, "healthy windows called"],
        ["---"] * (len(detectors) + 3),
        *(
            [
                figure.against,
                f"**{figure.auroc['LogMoE']:.3f}**",
                *(f"{figure.auroc[name]:.3f}" if name in figure.auroc else "" for name in detectors),
                "" if figure.called is None else f"{figure.called:.3f}",
            ]
            for figure in figures
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
