"""LogMoE finds the anomalous sequences in a log, and the lines that made them so.

Importing the package registers its config, models, processor and pipeline task with transformers.
"""

# The root of the repository is this package (`package-dir` in pyproject.toml). Under any other name, as when a test
# runner imports a clone by the name of its folder, this file must do nothing.
if __name__ == "logmoe":
    from importlib.metadata import version as _version
    from typing import Any

    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoProcessor

    from .caching_logmoe import ScanCache
    from .configuration_logmoe import LogMoEConfig
    from .findings_logmoe import Finding, FindingEntry, Findings, Reason
    from .gathering_logmoe import FindingScan
    from .modeling_logmoe import (
        LogMoEForSequenceClassification,
        LogMoEModel,
        LogMoEModelOutput,
        LogMoEPreTrainedModel,
        LogMoESequenceClassifierOutput,
    )
    from .parsing_logmoe import LogParser, ParsedLog
    from .pipeline_logmoe import LogAnomalyPipeline
    from .processing_logmoe import LogMoEProcessor
    from .reference_logmoe import LogReference
    from .scanning_logmoe import LogScan
    from .sequences_logmoe import SequenceCutter, SequenceRule
    from .statistics_logmoe import ScanStatistics

    __version__ = _version("logmoe")

    AutoConfig.register("logmoe", LogMoEConfig, exist_ok=True)
    AutoModel.register(LogMoEConfig, LogMoEModel, exist_ok=True)
    AutoModelForSequenceClassification.register(LogMoEConfig, LogMoEForSequenceClassification, exist_ok=True)
    AutoProcessor.register(LogMoEConfig, LogMoEProcessor, exist_ok=True)

    def __getattr__(name: str) -> Any:
        # Late, so that `python -m logmoe.inference` is not imported twice.
        if name == "LogAnomalyDetector":
            from .inference import LogAnomalyDetector

            return LogAnomalyDetector
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    __all__ = [
        "Finding",
        "FindingEntry",
        "FindingScan",
        "Findings",
        "LogAnomalyDetector",
        "LogAnomalyPipeline",
        "LogMoEConfig",
        "LogMoEForSequenceClassification",
        "LogMoEModel",
        "LogMoEModelOutput",
        "LogMoEPreTrainedModel",
        "LogMoEProcessor",
        "LogMoESequenceClassifierOutput",
        "LogParser",
        "LogReference",
        "LogScan",
        "ParsedLog",
        "Reason",
        "ScanCache",
        "ScanStatistics",
        "SequenceCutter",
        "SequenceRule",
    ]
