"""A checkpoint in, a folder or a repository out that works by itself: weights, code, card, endpoint.

What the pipeline saves and pushes. The code goes along by itself, for the modeling file reaches it, `handler.py`
included; the rest is written here.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from transformers.utils import CONFIG_NAME, cached_file, logging

from .handler import REFERENCE_FOLDER, REQUIREMENTS
from .processing_logmoe import LogMoEProcessor
from .reference_logmoe import LogReference
from .saving_logmoe import new_files

logger = logging.get_logger(__name__)

# Written beside the weights if the model came without a card of its own.
_PLAIN_CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags:
- log-anomaly
- log-anomaly-detection
- mixture-of-experts
---

# LogMoE

A LogMoE checkpoint: it labels sequences of log entries as normal or anomalous. This card has no measurements.

```python
from transformers import pipeline

# The folder of this checkpoint, or its name on the Hub.
pipe = pipeline("log-anomaly", model="FOLDER", trust_remote_code=True)
pipe(open("server.log").read())
```
"""
# Where a card says how its checkpoint is loaded.
_MODEL_OF_CARD = re.compile(r"""(pipeline\(["']log-anomaly["'], model=)(["'])[^"'\n]*\2""")
# Pictures that a card shows, if they lie beside it.
_PICTURE_OF_CARD = re.compile(r"!\[[^][]*\]\(([\w-][\w.-]*\.(?:png|jpg|svg))\)")
# The files of weights.
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")


class PublishesCheckpoints:
    """What a pipeline needs to save its checkpoint and to push it."""

    model: Any
    processor: LogMoEProcessor
    _stored: tuple[str, LogReference | None] | None = None

    @property
    def stored_reference(self) -> LogReference | None:
        """The reference that is stored with the checkpoint, in its folder `reference`; None if there is none.

        Raises:
            FileNotFoundError, ValueError: it is incomplete or damaged.
        """
        config = self.model.config
        held = self._stored  # which another thread may replace
        if held is None or held[0] != config.name_or_path:
            folder = _reference_folder(config)
            found = None if folder is None else LogReference.from_pretrained(folder)
            if found is None and config.calibration_mode == "reference":
                logger.warning(
                    f"This checkpoint was trained with a reference, which is not with it: it should lie in its folder "
                    f"{REFERENCE_FOLDER}/. Without it logs are judged otherwise than was measured; `reference` takes "
                    "another one."
                )
            held = self._stored = config.name_or_path, found
        return held[1]

    def save_pretrained(
        self, save_directory: str | os.PathLike, *, reference: LogReference | bool | None = None, **kwargs: Any
    ) -> None:
        """Saves a complete checkpoint: weights, config, tokenizer, processor, the Python files and README.md.

        Files replace their predecessors only when all of them are written. Meanwhile, for a moment, there is no
        config.json, so that nobody loads half of the one and half of the other.

        Args:
            save_directory: a folder, made if needed. A README.md in it is kept. A reference in it is that of the
                checkpoint before and is removed, unless this one was loaded from there.
            reference: to save along with it, against which logs are then judged where no other is given: it holds
                masked text of its logs. True for the one that is stored with the loaded checkpoint, False for none.
            kwargs: see `PreTrainedModel.save_pretrained`.

        Raises:
            OSError: it cannot be written; what was in the folder is unharmed.
            ValueError: there is no stored reference.
        """
        folder, source = Path(save_directory), self.model.config.name_or_path
        is_own = reference is None and bool(source) and Path(source).resolve() == folder.resolve()
        reference = self._to_store(reference)
        if folder.is_file():
            raise FileExistsError(f"cannot save a checkpoint to {str(folder)!r}: it is a file, a folder is needed")
        with new_files(folder) as written:
            self._save(written, folder.resolve().name, has_card=(folder / "README.md").exists(), **kwargs)
            if reference is not None:
                reference.save_pretrained(folder / REFERENCE_FOLDER)
            (folder / CONFIG_NAME).unlink(missing_ok=True)
            if reference is None and not is_own and (folder / REFERENCE_FOLDER / "reference.json").exists():
                os.replace(folder / REFERENCE_FOLDER, written.parent / f"{written.name}-{REFERENCE_FOLDER}")
                shutil.rmtree(written.parent / f"{written.name}-{REFERENCE_FOLDER}")
            for weights in filter(lambda path: _WEIGHTS.fullmatch(path.name), list(folder.iterdir())):
                if not (written / weights.name).exists():  # of another number of files, and they would be loaded
                    weights.unlink()
            for path in sorted(written.iterdir(), key=lambda path: path.name == CONFIG_NAME):
                os.replace(path, folder / path.name)

    def _save(self, folder: Path, name: str, has_card: bool = False, **kwargs: Any) -> None:
        """Writes the files of a checkpoint whose card calls it `name`, which has one already or not."""
        of_source = self._source_of("README.md")
        card = named_card(_PLAIN_CARD if of_source is None else of_source.read_text(encoding="utf-8"), name)
        pictures = {picture: self._source_of(picture) for picture in _PICTURE_OF_CARD.findall(card)}
        self.model.save_pretrained(folder, **kwargs)
        self.processor.save_pretrained(folder)
        (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
        if not has_card:
            (folder / "README.md").write_text(card, encoding="utf-8")
            for picture, path in pictures.items():
                if path is not None:
                    (folder / picture).write_bytes(path.read_bytes())

    def push_to_hub(self, repo_id: str, *, reference: LogReference | bool | None = None, **kwargs: Any) -> str:
        """Uploads a complete checkpoint, its model card included.

        Args:
            repo_id: name on the Hub, `"org/name"`.
            reference: to upload along with it, see `save_pretrained`. It holds masked text of its logs, and makes a
                new repository private unless `private` says otherwise. One that is there is removed likewise.
            kwargs: `private` and `token`; others go to `huggingface_hub.upload_folder`, such as `commit_message` and
                `revision`.

        Returns:
            The address of the commit.

        Raises:
            ValueError: everybody can read the repository that a reference would go to, or there is none stored.
        """
        from huggingface_hub import HfApi

        is_own = reference is None and repo_id == self.model.config.name_or_path
        reference = self._to_store(reference)
        api, private = HfApi(token=kwargs.pop("token", None)), kwargs.pop("private", None)
        kwargs.setdefault("commit_message", f"Upload {type(self).__name__}")
        repo_id = create_repository(api, repo_id, private, reference is not None)
        if not is_own:
            kwargs.setdefault("delete_patterns", [f"{REFERENCE_FOLDER}/*"])  # of the checkpoint before it
        with tempfile.TemporaryDirectory() as folder:
            self._save(Path(folder), repo_id)
            if reference is not None:
                reference.save_pretrained(Path(folder, REFERENCE_FOLDER))
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, **kwargs))

    def _to_store(self, reference: LogReference | bool | None) -> LogReference | None:
        if not isinstance(reference, bool):
            return reference
        if not reference:
            return None
        if self.stored_reference is None:
            raise ValueError("`reference=True` stands for the checkpoint's own reference, and there is none: fit one.")
        return self.stored_reference

    def _source_of(self, name: str) -> Path | None:
        """A file beside the loaded checkpoint; None if there is none."""
        source = self.model.config.name_or_path
        if not source:
            return None
        path = cached_file(
            source,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return Path(path) if path else None


def _reference_folder(config: Any) -> Path | None:
    """The folder of the reference that is stored with a checkpoint; None if there is none."""
    source = config.name_or_path
    if not source:
        return None
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError

        try:
            patterns, revision = [f"{REFERENCE_FOLDER}/*"], getattr(config, "_commit_hash", None)
            folder = Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
        except HFValidationError:  # the path of a folder that is gone
            return None
        except OSError as error:
            logger.warning(f"Whether {source} holds a reference is not known: {error}")
            return None
    folder = folder / REFERENCE_FOLDER
    return folder if (folder / "reference.json").is_file() else None


def create_repository(api: Any, repo_id: str, private: bool | None, with_reference: bool) -> str:
    """Creates the repository of a checkpoint, if it is not there; returns its name, to which the Hub adds the owner.

    Args:
        api: an `HfApi`.
        private: whether a new one is; by default if a reference goes there.
        with_reference: the checkpoint's reference is to go there.

    Raises:
        ValueError: everybody can read it, and the reference would go there.
    """
    is_secret = with_reference and private is None
    name: str = api.create_repo(repo_id, private=True if is_secret else private, exist_ok=True).repo_id
    if is_secret and not api.model_info(name).private:
        raise ValueError(
            f"{name} is public, and the reference holds masked text of its logs: pass `private=False` if everybody "
            "may read it; or leave it out, and push it to a repository of its own, reference.push_to_hub"
        )
    return name


def named_card(card: str, name: str) -> str:
    """A model card that says how to load its checkpoint by this name, whatever name it had."""
    return _MODEL_OF_CARD.sub(lambda match: f"{match[1]}{match[2]}{name}{match[2]}", card)


__all__ = ["PublishesCheckpoints", "create_repository", "named_card"]
