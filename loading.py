"""Loads a checkpoint, which somebody else may have made: no code of it runs, and what is wrong with it is said.

`load_pipeline` is what the command and `LogAnomalyDetector` use. `pipeline("log-anomaly", …)` of transformers loads
too, with fewer checks. Nothing here travels with a checkpoint.
"""

import copy
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, StrictDataclassError
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, AutoProcessor, pipeline

from logmoe import LogAnomalyPipeline, LogMoEConfig, LogMoEForSequenceClassification, LogMoEProcessor
from logmoe.handler import REFERENCE_FOLDER
from logmoe.parsing_logmoe import check_integer

CONFIG, PROCESSOR_CONFIG, TOKENIZER_CONFIG = "config.json", "processor_config.json", "tokenizer_config.json"
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"

# Keys by which transformers would load something else than the checkpoint: other weights, sub-processors, quantizers.
_ELSEWHERE = {
    *("transformers_weights", "quantization_config", "kernel_config", "base_model_name_or_path"),
    *("audio_tokenizer", "image_processor", "video_processor", "feature_extractor"),
}
# The code that travels with a checkpoint, "file.Class", perhaps with the name of its repository in front. It is not
# read from there: the installed package is the same code.
_OUR_CODE = re.compile(r"(?:[\w./-]+--)?\w+_logmoe\.Log\w+")
_LONGEST_REASON = 500


def load_pipeline(
    model_path: str | os.PathLike, device: str | int | None = None, trust_remote_code: bool = False, **kwargs: Any
) -> LogAnomalyPipeline:
    """Loads a checkpoint as a pipeline.

    Args:
        model_path: a checkpoint's folder, or a name on the Hub such as `"org/logmoe"`.
        device: as in `transformers.pipeline`; by default a GPU when there is one, else the CPU.
        trust_remote_code: run code that the checkpoint names beside LogMoE's own, such as another tokenizer's. It can
            do whatever you can. Without it such a checkpoint is refused; nobody is asked.
        kwargs: defaults of the calls; see [`LogAnomalyPipeline`].

    Raises:
        FileNotFoundError: there is no complete checkpoint at `model_path`.
        ValueError: the checkpoint is damaged, of another kind of model, or names code of its own.
    """
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"PyTorch finds no GPU for device {device!r}: leave it out to use the CPU.")
    model_path = str(model_path)
    folder = checkpoint_folder(model_path, trust_remote_code)
    config = _load_config(model_path, folder, trust_remote_code)
    _check_weight_files(model_path, folder, config)
    model = _load_model(model_path, folder, trust_remote_code)
    if folder != model_path:
        model.name_or_path = model.config._name_or_path = model_path  # rather than a place in the cache
        model.config._commit_hash = os.path.basename(folder)
    processor = load_processor(model_path, trust_remote_code, folder)
    _try_out(model_path, model, processor)
    return pipeline(
        "log-anomaly",
        model=model,
        processor=processor,
        device=device,
        trust_remote_code=trust_remote_code,
        **kwargs,
    )


def checkpoint_folder(model_path: str, trust_remote_code: bool = False) -> str:
    """The folder of a checkpoint, which is downloaded if it is on the Hub.

    Raises:
        FileNotFoundError: there is none.
    """
    # If there is a folder "runs", "runs/final" is a misspelt path, not a name on the Hub.
    is_hub_name = re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model_path) and not os.path.isdir(model_path.split("/")[0])
    folder = model_path
    if is_hub_name and not os.path.isdir(model_path):
        wanted = ["*.json", "*.txt", "*.safetensors", f"{REFERENCE_FOLDER}/*"]
        wanted += ["*.py"] if trust_remote_code else []
        try:
            folder = snapshot_download(model_path, allow_patterns=wanted)
        except (OSError, HFValidationError) as error:
            raise FileNotFoundError(f"cannot load {model_path!r}: {error}") from error
    if not os.path.isfile(os.path.join(folder, CONFIG)):
        what = f"it has no {CONFIG}" if os.path.isdir(folder) else "there is no such folder"
        raise FileNotFoundError(
            f"no checkpoint at {model_path!r}: {what}. Give a folder written by `train.py` or `save_pretrained`, or a "
            "name on the Hub such as 'org/logmoe'; leave it out to use the built-in checkpoint."
        )
    return folder


def load_processor(
    model_path: str | os.PathLike, trust_remote_code: bool = False, folder: str | None = None
) -> LogMoEProcessor:
    """Loads the processor of a checkpoint alone.

    Args:
        model_path, trust_remote_code: see `load_pipeline`.
        folder: where it lies, if that is known.

    Raises:
        FileNotFoundError, ValueError: as `load_pipeline`.
    """
    model_path = str(model_path)
    if folder is None:
        folder = checkpoint_folder(model_path, trust_remote_code)
        _load_config(model_path, folder, trust_remote_code)
    # Without these transformers would go on with default rules, or an empty vocabulary.
    for name in (PROCESSOR_CONFIG, "tokenizer.json"):
        if not os.path.isfile(os.path.join(folder, name)):
            raise FileNotFoundError(f"incomplete checkpoint {model_path!r}: it has no {name}")
    for name in (PROCESSOR_CONFIG, TOKENIZER_CONFIG):
        if os.path.isfile(os.path.join(folder, name)):
            _read_json(model_path, folder, name, trust_remote_code)
    kind: Any = AutoProcessor if trust_remote_code else LogMoEProcessor
    try:
        processor = kind.from_pretrained(folder, trust_remote_code=trust_remote_code)
        vocabulary = processor.tokenizer.get_vocab()
        if not processor.tokenizer.is_fast or len(vocabulary) <= len(processor.tokenizer.all_special_tokens):
            raise ValueError("tokenizer.json has no vocabulary")
        check_integer("model_max_length", processor.tokenizer.model_max_length, 1)
    except Exception as error:  # what a damaged file raises cannot be told beforehand
        _damaged(model_path, _of(error, f"{PROCESSOR_CONFIG}, tokenizer.json or {TOKENIZER_CONFIG}"), error)
    return processor


# ---------------------------------------------------------------------- the parts


def _damaged(model_path: str, what: str, error: BaseException | None = None) -> NoReturn:
    if isinstance(error, MemoryError):
        raise error
    what = what if len(what) <= _LONGEST_REASON else what[:_LONGEST_REASON] + "…"
    raise ValueError(f"checkpoint damaged: {model_path!r}: {what.rstrip('.')}. Download or train it again.") from error


def _of(error: BaseException, file: str) -> str:
    if isinstance(error, KeyError):  # says the key alone
        return f"{file}: {error} is missing or not known"
    return f"{file}: {error}" if isinstance(error, ValueError) else f"{file}: {type(error).__name__}: {error}"


def _read_json(model_path: str, folder: str, name: str, trust_remote_code: bool) -> dict[str, Any]:
    """One of the files that say what to load, if it names nothing that lies elsewhere."""
    try:
        values = json.loads(Path(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        _damaged(model_path, _of(error, name), error)
    if not isinstance(values, dict):
        _damaged(model_path, f"{name} must hold an object, got {type(values).__name__}")
    for key, value in _items(values):
        if key in ("auto_map", "impl", "processor_class") and not trust_remote_code:
            foreign = [code for code in _strings(value) if not _OUR_CODE.fullmatch(code) and code != "LogMoEProcessor"]
            if foreign:
                raise ValueError(
                    f"the checkpoint {model_path!r} names code that is not LogMoE's, {foreign[0]!r} in {name}: it is "
                    "not run. `trust_remote_code=True` runs it; it could do whatever you can."
                )
        elif key in _ELSEWHERE and value is not None:
            _damaged(model_path, f"{name} has {key!r}, which LogMoE does not know")
        elif key.endswith("attn_implementation") and any(not of.isidentifier() for of in _strings(value)):
            # transformers would download a kernel of this name, which is code too.
            _damaged(model_path, f"{name} has {key!r} {value!r}, which is none of PyTorch's")
    return values


def _items(values: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value, at any depth."""
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _strings(value: Any) -> list[str]:
    """Every text in a value, at any depth."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _strings(each)]


def _load_config(model_path: str, folder: str, trust_remote_code: bool) -> LogMoEConfig:
    values = _read_json(model_path, folder, CONFIG, trust_remote_code)
    if values.get("model_type") != "logmoe":
        raise ValueError(
            f"{model_path!r} is not a LogMoE checkpoint but a {values.get('model_type')!r} model: give a folder "
            "written by `train.py` or `save_pretrained`"
        )
    try:
        return LogMoEConfig.from_pretrained(folder)
    except StrictDataclassError as error:  # its text names the validator, its cause the field
        _damaged(model_path, f"{CONFIG}: {error.__cause__ or error}", error)
    except Exception as error:
        _damaged(model_path, _of(error, CONFIG), error)


def _weight_files(model_path: str, folder: str) -> list[str]:
    """The files of the weights, all in the checkpoint's folder and in a format that holds no code."""
    if os.path.isfile(os.path.join(folder, "adapter_config.json")):
        raise ValueError(
            f"the checkpoint {model_path!r} has an adapter, adapter_config.json: merge it (`merge_and_unload`) first."
        )
    if os.path.isfile(os.path.join(folder, WEIGHTS)):
        return [os.path.join(folder, WEIGHTS)]
    if not os.path.isfile(os.path.join(folder, WEIGHTS_INDEX)):
        if os.path.isfile(os.path.join(folder, "pytorch_model.bin")):
            raise ValueError(
                f"the weights of {model_path!r} are in pytorch_model.bin, a format that can run code: it is not read. "
                "If you know who made it, convert it: `import logmoe, transformers; "
                f"transformers.AutoModelForSequenceClassification.from_pretrained({model_path!r}, "
                f"use_safetensors=False).save_pretrained({model_path!r})`."
            )
        raise FileNotFoundError(
            f"incomplete checkpoint {model_path!r}: it has no {WEIGHTS}; weights in other formats are not read"
        )
    try:
        named = json.loads(Path(folder, WEIGHTS_INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        names = sorted({str(name) for name in named})
    except Exception as error:
        _damaged(model_path, _of(error, WEIGHTS_INDEX), error)
    home = os.path.realpath(folder)
    # In the cache of the Hub, the files of a snapshot are links to the repository's blobs.
    inside = [home, *([os.path.join(home, "..", "..", "blobs")] if Path(home).parent.name == "snapshots" else [])]
    for name in names:
        path = os.path.realpath(os.path.join(folder, name))
        if os.path.basename(name) != name or os.path.dirname(path) not in map(os.path.realpath, inside):
            _damaged(model_path, f"{WEIGHTS_INDEX} names {name!r}, which lies outside the folder")
        if not name.endswith(".safetensors"):
            _damaged(model_path, f"{WEIGHTS_INDEX} names {name!r}, which is no safetensors file")
        if not os.path.isfile(path):
            raise FileNotFoundError(f"incomplete checkpoint {model_path!r}: it has no {name}")
    return [os.path.join(folder, name) for name in names]


def _check_weight_files(model_path: str, folder: str, config: LogMoEConfig) -> None:
    """Compares the shapes in the files with those of the config, before memory is taken for either."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _weight_files(model_path, folder):
        try:
            with safe_open(path, "pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except Exception as error:
            _damaged(model_path, _of(error, os.path.basename(path)), error)
    try:
        with torch.device("meta"):
            expected = LogMoEForSequenceClassification(copy.deepcopy(config)).state_dict()
    except Exception as error:
        _damaged(model_path, _of(error, CONFIG), error)
    for name, weight in expected.items():
        if name in shapes and shapes[name] != tuple(weight.shape):
            of_config = tuple(weight.shape)
            _damaged(model_path, f"the weights have {name!r} of shape {shapes[name]}, {CONFIG} asks for {of_config}")
    missing = {name: weight.numel() for name, weight in expected.items() if name not in shapes}
    # Some encoders write other names, and then some are missing here; but not most of the model.
    if sum(missing.values()) > 1 + sum(torch.Size(shape).numel() for shape in shapes.values()):
        _damaged(model_path, f"{len(missing)} weights are missing ({', '.join(sorted(missing)[:3])}…)")


def _load_model(model_path: str, folder: str, trust_remote_code: bool) -> Any:
    kind: Any = AutoModelForSequenceClassification if trust_remote_code else LogMoEForSequenceClassification
    try:
        model, info = kind.from_pretrained(
            folder, output_loading_info=True, trust_remote_code=trust_remote_code, use_safetensors=True
        )
    except Exception as error:
        _damaged(model_path, _of(error, "the weights"), error)
    if info["missing_keys"]:  # they would be random, and so would every result
        missing = sorted(info["missing_keys"])
        _damaged(model_path, f"{len(missing)} weights are missing ({', '.join(missing[:3])}…)")
    for name, weight in model.state_dict().items():
        # A finite sum has finite terms, and takes a tenth of the time; one that is not may only have overflowed.
        if not bool(torch.isfinite(weight.sum())) and not bool(torch.isfinite(weight).all()):
            _damaged(model_path, f"the weights {name!r} hold numbers that are not finite")
    return model


def _try_out(model_path: str, model: Any, processor: Any) -> None:
    """Judges a line: whatever is wrong with the parts together is said now, not in the middle of a log."""
    rows, highest = model.get_input_embeddings().weight.shape[0], max(processor.tokenizer.get_vocab().values())
    if highest >= rows:
        _damaged(model_path, f"tokenizer.json has the id {highest}, but the encoder has {rows} embeddings")
    for name in ("max_log_entry_length", "max_sequence_length"):
        if getattr(processor, name) > getattr(model.config, name):
            given, limit = getattr(processor, name), getattr(model.config, name)
            _damaged(model_path, f"`{name}` is {given} in {PROCESSOR_CONFIG}, but {limit} in {CONFIG}")
    try:
        inputs = processor("2024-01-01 10:00:00 INFO started 1\nERROR b")
        if int(inputs["input_ids"].max()) >= rows:
            raise ValueError(f"it gives ids up to {int(inputs['input_ids'].max())} for {rows} embeddings")
    except Exception as error:
        _damaged(model_path, _of(error, f"{PROCESSOR_CONFIG} or tokenizer.json"), error)
    try:
        with torch.inference_mode():
            logits = model.eval()(**inputs).logits
    except Exception as error:
        _damaged(model_path, _of(error, "the model"), error)
    if not bool(torch.isfinite(logits).all()):
        _damaged(model_path, "the model gives logits that are not finite")


__all__ = ["checkpoint_folder", "load_pipeline", "load_processor"]
