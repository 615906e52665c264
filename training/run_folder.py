"""The folder of a training run: every file name in it, what may be replaced, and saving that never leaves half a file.

`train.py` asks a `RunFolder` whether a run may start or continue there, hands it what the run produces, and publishes
what it lists. The trainer asks `complete_checkpoints` what can be resumed from.
"""

import json
import logging
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from transformers.trainer_utils import sort_checkpoints

from logmoe import LogAnomalyPipeline, LogReference
from logmoe.handler import REFERENCE_FOLDER
from logmoe.training.arguments import LAST_CHECKPOINT, UNIMPORTANT

logger = logging.getLogger("logmoe.train")

ARGUMENTS, SPLIT, RESULTS, CARD = "arguments.json", "split.json", "results.json", "README.md"
TRAINER_STATE, TRAINER_ARGUMENTS = "trainer_state.json", "training_args.bin"  # The Trainer's names.
TRAINING_PLOT, PRECISION_RECALL_PLOT = "training.png", "precision_recall.png"
RELIABILITY_PLOT, EXPERT_LOAD_PLOT = "reliability.png", "expert_load.png"
CHECKPOINT_FILES = {
    *("config.json", "model.safetensors", "model.safetensors.index.json", "processor_config.json", "tokenizer.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "handler.py", "requirements.txt"),
}
CODE_SUFFIX = "_logmoe.py"  # Of the code that travels with the weights.
EVENTS = "runs"  # TensorBoard's event files.
SEED_PREFIX, CHECKPOINT_PREFIX = "seed-", "checkpoint-"
SAVING, PARTIAL = ".saving", ".partial"  # Folder and suffix of what is not complete yet.
LOCK = ".lock"  # Held by the run that writes here, for as long as its process lives.

# Nobody else needs these: they are not published.
_PRIVATE = {ARGUMENTS, TRAINER_STATE, TRAINER_ARGUMENTS}
_PUBLISHED = {*CHECKPOINT_FILES, CARD, SPLIT, RESULTS}
_PUBLISHED |= {TRAINING_PLOT, PRECISION_RECALL_PLOT, RELIABILITY_PLOT, EXPERT_LOAD_PLOT}


def complete_checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder that were saved to the end, oldest first.

    The trainer state is written last, so a checkpoint is complete if its state is readable.
    """
    complete = []
    for checkpoint in map(Path, sort_checkpoints(str(folder)) if Path(folder).is_dir() else []):
        try:
            json.loads((checkpoint / TRAINER_STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        complete.append(checkpoint)
    return complete


def write_json(values: Any, path: Path) -> None:
    """Writes a file whole or not at all; NaN becomes null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not math.isfinite(value) else value

    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, json.dumps(plain(values), indent=1, ensure_ascii=False) + "\n")


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_suffix(PARTIAL)
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes, and whether it may continue or replace what is there."""

    path: Path
    resume: str | None = None  # `LAST_CHECKPOINT`, or the checkpoint of this run to continue from.
    overwrite: bool = False
    _locks: list[FileLock] = field(default_factory=list, compare=False)

    def release(self) -> None:
        """Lets other runs write here."""
        while self._locks:
            self._locks.pop().release()

    def _lock(self) -> None:
        """
        Raises:
            FileExistsError: another run writes here. A run that is dead, however it ended, does not.
        """
        if self._locks:
            return
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise FileExistsError(
                f"another run is writing to `--output_dir` {self.path}: give another folder, or wait for its end."
            ) from error
        except NotImplementedError as error:
            logger.warning(
                "%s: this file system has no locks: see that no other run writes here (%s).", self.path, error
            )
            return
        self._locks.append(lock)

    def check(self, encoder: str, arguments: dict[str, dict[str, Any]]) -> None:
        """Checks that a run may start here, or continue with these arguments.

        Raises:
            FileExistsError: something is there already, or another run writes there.
            ValueError: the run there had other arguments, or has no such checkpoint; or the encoder is in this folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"`--output_dir` {self.path} is a file.")
        if Path(encoder).exists() and Path(encoder).resolve().is_relative_to(self.path.resolve()):
            raise ValueError(f"`--encoder` {encoder} is in `--output_dir` {self.path}, where the checkpoint goes.")
        # A run that was killed at its very start may have left half a file.
        found = [path for path in self.path.iterdir() if path.suffix != PARTIAL] if self.path.exists() else []
        if self.path / LOCK in found:
            found.remove(self.path / LOCK)
            if not self._locks:
                self._lock()
                self.release()  # The folder is taken when there is something to write.
        if found and self.resume is not None:
            self._check_arguments(arguments)
        elif found and not self.overwrite:
            raise FileExistsError(
                f"`--output_dir` {self.path} is not empty: give `--resume` to continue the run in it, "
                "`--overwrite_output_dir` to replace that run, or another folder."
            )
        if (given := self._given_checkpoint()) is not None:
            folders = [self.path.resolve(), *sorted(self.path.resolve().glob(f"{SEED_PREFIX}*"))]
            complete = [checkpoint for folder in folders for checkpoint in complete_checkpoints(folder)]
            if given not in complete:
                raise ValueError(
                    f"`--resume_from_checkpoint` {self.resume} is not a complete checkpoint in `--output_dir` "
                    f"{self.path}. Complete are {', '.join(map(str, complete)) or 'none'}; `last` takes the last one."
                )

    def _check_arguments(self, arguments: dict[str, dict[str, Any]]) -> None:
        try:
            before = read_json(self.path / ARGUMENTS)
        except (OSError, ValueError) as error:
            raise FileExistsError(
                f"`--resume`: there is no run of train.py in {self.path}: cannot read {ARGUMENTS}: {error}. Give "
                "`--overwrite_output_dir` to start one there, or another folder."
            ) from error
        now = json.loads(json.dumps(arguments))  # As a JSON file returns them.
        changed = [
            f"{name} was {before.get(kind, {}).get(name)!r}, is {value!r}"
            for kind, values in now.items()
            for name, value in values.items()
            if before.get(kind, {}).get(name) != value and name not in UNIMPORTANT
        ]
        if changed:
            raise ValueError(f"`--resume` needs the arguments that started {self.path}: {'; '.join(changed)}.")

    def check_split(self, facts: dict[str, Any]) -> None:
        """
        Raises:
            ValueError: the run to continue was trained on other data.
        """
        if self.resume is None or not (self.path / SPLIT).exists():
            return
        before = read_json(self.path / SPLIT)
        if before != facts:
            raise ValueError(f"The data changed since {self.path} was started: {before} then, {facts} now.")

    def start(self, encoder: str, arguments: dict[str, dict[str, Any]], facts: dict[str, Any]) -> None:
        """Takes the folder, until `release`, makes room and records arguments and split.

        The main process calls this, the others wait. All is checked again: another run may have been here meanwhile.
        `overwrite` removes what another run left, a given checkpoint to resume from the later ones beside it: the
        Trainer would keep those and drop the ones that it saves now. All other files stay.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock()
        self.check(encoder, arguments)
        self.check_split(facts)
        for leftover in [*self.path.glob(f"{SAVING}*"), *self.path.glob(f"{SEED_PREFIX}*/{SAVING}*")]:
            shutil.rmtree(leftover, ignore_errors=True)
        if self.overwrite and (self.path / ARGUMENTS).exists():
            for folder in self.path.iterdir():
                is_left = folder.name in (EVENTS, REFERENCE_FOLDER)
                if folder.is_dir() and (is_left or folder.name.startswith((SEED_PREFIX, CHECKPOINT_PREFIX))):
                    shutil.rmtree(folder)
            for name in self._files(_PUBLISHED | _PRIVATE):
                (self.path / name).unlink()
        if (given := self._given_checkpoint()) is not None:
            checkpoints = sort_checkpoints(str(given.parent))
            for checkpoint in checkpoints[checkpoints.index(str(given)) + 1 :]:
                shutil.rmtree(checkpoint)
        write_json(arguments, self.path / ARGUMENTS)
        write_json(facts, self.path / SPLIT)

    def _given_checkpoint(self) -> Path | None:
        return None if self.resume in (None, LAST_CHECKPOINT) else Path(str(self.resume)).resolve()

    # ------------------------------------------------------------------ each seed

    def of_seed(self, seed: int, is_first: bool) -> Path:
        """Where the training with this seed writes: the first one here, for its model is published."""
        return self.path if is_first else self.path / f"{SEED_PREFIX}{seed}"

    def checkpoint_in(self, seed_folder: Path) -> Path | None:
        """The checkpoint that the training in this folder continues from; None: it starts."""
        given = self._given_checkpoint()
        if given is not None and given.parent == seed_folder.resolve():
            return given
        complete = complete_checkpoints(seed_folder) if self.resume is not None else []
        return complete[-1] if complete else None

    def results_in(self, seed_folder: Path) -> dict[str, Any] | None:
        """What the training in a seed's own folder measured, if it was finished before and is not to be repeated."""
        given, path = self._given_checkpoint(), seed_folder / RESULTS
        repeated = given is not None and given.parent == seed_folder.resolve()
        unfinished = self.resume is None or seed_folder == self.path or not path.exists()
        return None if repeated or unfinished else read_json(path)

    # ------------------------------------------------------------------ after training

    def save_checkpoint(
        self,
        pipe: LogAnomalyPipeline,
        state_dict: dict[str, torch.Tensor] | None = None,
        reference: LogReference | None = None,
    ) -> None:
        """Saves a complete checkpoint, all of it or nothing, with the reference it was trained with, if there is one.

        FSDP shards the model over processes: its weights then come as `state_dict`.

        Raises:
            OSError: it cannot be written; what was in the folder is unharmed.
        """
        weights: dict[str, Any] = {} if state_dict is None else {"state_dict": state_dict}
        try:
            pipe.save_pretrained(self.path, reference=reference, **weights)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise OSError(
                f"cannot save the trained model in {self.path}: {error}. Make room, then continue with `--resume`."
            ) from error

    def save_card(self, card: ModelCard) -> None:
        """Writes the model card whole or not at all."""
        partial = (self.path / CARD).with_suffix(PARTIAL)
        card.save(partial)
        os.replace(partial, self.path / CARD)

    def change_card(self, change: Callable[[str], str]) -> None:
        """Writes a changed model card whole or not at all."""
        _write_whole(self.path / CARD, change((self.path / CARD).read_text(encoding="utf-8")))

    def upload_patterns(self, with_reference: bool = False) -> list[str]:
        """What is published: files that the run wrote, and no others that happen to be there.

        Args:
            with_reference: also the reference, which holds masked text of the training logs.
        """
        return [*self._files(_PUBLISHED), f"{EVENTS}/**", *([f"{REFERENCE_FOLDER}/*"] if with_reference else [])]

    def _files(self, names: set[str]) -> list[str]:
        """The files directly in this folder that have one of these names, and the code of the checkpoint."""
        files = (path.name for path in self.path.iterdir() if path.is_file())
        return sorted(name for name in files if name in names or name.endswith(CODE_SUFFIX))
