"""Log text in, model inputs out: the processor binds the parser and the rule for sequences to the encoder's tokenizer.

It is saved with the checkpoint, rules and all, so that text is prepared for serving exactly as it was for training.
Called by everything that feeds the model: the pipeline, the scan, training, and your own code with `AutoModel`.
"""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AddedToken, AutoTokenizer, BatchFeature, ProcessorMixin

from .columns_logmoe import check_pattern
from .configuration_logmoe import MAX_LOG_ENTRY_LENGTH, MAX_SEQUENCE_LENGTH
from .masks_logmoe import PLACEHOLDER
from .parsing_logmoe import LogParser, ParsedLog, check_integer
from .rules_logmoe import (
    CONTINUATION_PATTERN,
    DIRECTIVE_PATTERN,
    EXCEPTION_PATTERN,
    INDENTED_ENTRY_PATTERN,
)
from .sequences_logmoe import SequenceCutter, SequenceRule, pad_sequences


class LogMoEProcessor(ProcessorMixin, LogParser):
    r"""Turns log text into the inputs of LogMoE. All patterns are RE2 (linear time whatever the input).

    Args:
        tokenizer (`PreTrainedTokenizerFast`): the encoder's tokenizer; the placeholders become tokens of it.
        masks, entry_pattern, continuation_pattern, exception_pattern, indented_entry_pattern, directive_pattern,
        blocks, transports, time_rules, severity_rules, header_pattern, max_entry_characters: see [`LogParser`].
        session_pattern (`str`, *optional*): see [`SequenceRule`]; if given, sequences are sessions by default.
        max_log_entry_length (`int`): tokens per entry; a longer entry is truncated and flagged.
        max_sequence_length (`int`): entries per sequence.

    Raises:
        ValueError: a pattern is not RE2, a placeholder has no phrase, or a length is below 1.
    """

    _copied: tuple[Any, int, Any] | None = None  # a tokenizer's backend, the size of its vocabulary, our copy

    def __init__(
        self,
        tokenizer=None,
        masks=None,
        entry_pattern=None,
        continuation_pattern=CONTINUATION_PATTERN,
        exception_pattern=EXCEPTION_PATTERN,
        indented_entry_pattern=INDENTED_ENTRY_PATTERN,
        directive_pattern=DIRECTIVE_PATTERN,
        blocks=None,
        transports=None,
        time_rules=None,
        severity_rules=None,
        header_pattern=None,
        session_pattern=None,
        max_log_entry_length=128,
        max_entry_characters=8192,
        max_sequence_length=32,
    ):
        LogParser.__init__(
            self,
            masks,
            entry_pattern,
            continuation_pattern,
            exception_pattern,
            indented_entry_pattern,
            directive_pattern,
            blocks,
            transports,
            time_rules,
            severity_rules,
            header_pattern,
            max_entry_characters,
        )
        check_integer("max_sequence_length", max_sequence_length, 1, MAX_SEQUENCE_LENGTH)
        SequenceRule(max_sequence_length, session_pattern=session_pattern)  # checks both
        self.session_pattern = session_pattern
        self.max_log_entry_length = check_integer(
            "max_log_entry_length", max_log_entry_length, 1, MAX_LOG_ENTRY_LENGTH
        )
        self.max_sequence_length = max_sequence_length
        ProcessorMixin.__init__(self, tokenizer)
        known = self.tokenizer.get_vocab()
        self._new_placeholders = [name for name in self.placeholders() if name not in known]
        # Not normalised: a lower-casing tokenizer would find them in a log's own "<ip>".
        self.tokenizer.add_tokens([AddedToken(name, normalized=False) for name in self._new_placeholders])

    @classmethod
    def from_encoder_pretrained(cls, encoder_name_or_path: str, **rules: Any) -> "LogMoEProcessor":
        """A processor around the tokenizer of a pretrained encoder.

        Args:
            encoder_name_or_path: folder or Hub name of the encoder.
            rules: arguments of the constructor.
        """
        return cls(AutoTokenizer.from_pretrained(encoder_name_or_path, trust_remote_code=False), **rules)

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Checkpoints saved before transports and blocks were known go on without them."""
        if "transports" not in processor_dict:
            none: dict[str, Any] = {"transports": [], "blocks": [], "directive_pattern": None}
            processor_dict = {name: value for name, value in processor_dict.items() if name != "timestamp_formats"}
            processor_dict |= none | {"header_pattern": None}
        return super().from_args_and_dict(args, processor_dict, **kwargs)

    def rules(self) -> dict[str, Any]:
        """The constructor's arguments, all but the tokenizer."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: copy.deepcopy(getattr(self, name)) for name in names if name not in ("self", "tokenizer")}

    def with_entry_pattern(self, entry_pattern: str) -> "LogMoEProcessor":
        """This processor with another rule for what starts an entry; the tokenizer is shared.

        Raises:
            ValueError: the pattern is not RE2.
        """
        check_pattern("entry_pattern", entry_pattern)
        self._own_tokenizer()  # is shared as well, for copying it takes longer than reading a short log
        other = copy.copy(self)
        other.entry_pattern = entry_pattern
        return other

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "entry_index"]

    # ------------------------------------------------------------------ placeholders

    def placeholders(self) -> list[str]:
        """The placeholders of the masks, each once, in order."""
        return list(dict.fromkeys(name for mask in self.masks for name in PLACEHOLDER.findall(mask["replacement"])))

    def new_placeholder_token_ids(self) -> dict[int, list[int]]:
        """The token ids of the placeholders that this processor added to its tokenizer.

        Returns:
            For each the token ids of the phrase that says what it stands for.
        """
        phrases = {name: mask["phrase"] for mask in self.masks for name in PLACEHOLDER.findall(mask["replacement"])}
        return {
            self.tokenizer.convert_tokens_to_ids(name): self.tokenizer(phrase, add_special_tokens=False)["input_ids"]
            for name, phrase in phrases.items()
            if name in self._new_placeholders
        }

    # ------------------------------------------------------------------ entries to sequences

    def sequence_rule(
        self,
        max_sequence_length: int | None = None,
        stride: int | None = None,
        window_seconds: float | None = None,
        session_pattern: str | None = None,
        fill_last: bool = False,
    ) -> SequenceRule:
        """The default rule for sequences, with the arguments given in place of its values.

        Args:
            max_sequence_length, stride, window_seconds, fill_last: see [`SequenceRule`].
            session_pattern: likewise; by default the processor's, unless there is a `window_seconds`; "" for none.

        Raises:
            ValueError: a value is out of range.
        """
        length = self.max_sequence_length if max_sequence_length is None else max_sequence_length
        if session_pattern is None and window_seconds is None:
            session_pattern = self.session_pattern
        return SequenceRule(length, stride, window_seconds, session_pattern, fill_last)

    def cut(self, parsed: ParsedLog, **overrides: Any) -> list[np.ndarray]:
        """Cuts a parsed log into sequences.

        Args:
            parsed: see `parse`.
            overrides: see `sequence_rule`.

        Returns:
            For each sequence the positions of its entries, ascending; sequences are ordered by their first entry.

        Raises:
            ValueError: a value is out of range, or the log has no timestamps or sessions to be cut by.
        """
        return SequenceCutter(self.sequence_rule(**overrides), self).cut(parsed)

    # ------------------------------------------------------------------ distinct entries to token ids

    def tokenize(
        self, masked: Sequence[str], max_log_entry_length: int | None = None
    ) -> tuple[list[list[int]], np.ndarray]:
        """Token ids of masked entries.

        Args:
            masked: masked entries, usually the distinct ones.
            max_log_entry_length: tokens per entry, special tokens included; by default the processor's.

        Returns:
            The token ids, unpadded, and which entries were truncated, bool `(entries,)`.

        Raises:
            ValueError: the length leaves no room between the special tokens.
        """
        length = self.max_log_entry_length if max_log_entry_length is None else max_log_entry_length
        # Room for one token between the special ones.
        length = check_integer("max_log_entry_length", length, self.tokenizer.num_special_tokens_to_add() + 1)
        encodings = self._own_tokenizer().encode_batch_fast(list(masked))
        token_ids = [encoding.ids for encoding in encodings]
        truncated = np.array([len(ids) > length for ids in token_ids], dtype=bool)
        for row in np.flatnonzero(truncated).tolist():
            special = encodings[row].special_tokens_mask
            begin, end = special.index(0), special[::-1].index(0)  # special tokens on either side
            text, room = token_ids[row][begin : len(special) - end], length - begin - end
            kept = text[-room:] if self.tokenizer.truncation_side == "left" else text[:room]
            token_ids[row] = token_ids[row][:begin] + kept + token_ids[row][len(special) - end :]
        return token_ids, truncated

    def _own_tokenizer(self) -> Any:
        """The tokenizer's backend, in a copy of its own: settings of a backend are shared by all who call it.

        A call of a fast tokenizer sets whether and where it truncates, so that threads would cut each other's texts.
        """
        backend = self.tokenizer.backend_tokenizer
        origin = backend, backend.get_vocab_size(True)  # tokens may be added later
        if self._copied is None or self._copied[0] != origin[0] or self._copied[1] != origin[1]:
            own = copy.deepcopy(backend)
            own.no_truncation()
            own.no_padding()
            own.encode_special_tokens = True  # a "[SEP]" in a log is text
            self._copied = *origin, own
            return own
        return self._copied[2]

    def pad(self, token_ids: list[list[int]]) -> dict[str, torch.Tensor]:
        """Pads token ids to the longest: `input_ids` and `attention_mask`, int64 `(entries, tokens)`."""
        longest = max(len(ids) for ids in token_ids)
        input_ids = torch.full((len(token_ids), longest), self.tokenizer.pad_token_id or 0, dtype=torch.long)
        attention_mask = torch.zeros_like(input_ids)
        for row, ids in enumerate(token_ids):
            input_ids[row, : len(ids)] = torch.tensor(ids)
            attention_mask[row, : len(ids)] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def __call__(
        self,
        log: str | bytes | Sequence[str],
        *,
        max_log_entry_length: int | None = None,
        return_tensors: str | None = "pt",
        **overrides: Any,
    ) -> BatchFeature:
        """Turns one log into model inputs in the compact form.

        Args:
            log: see `parse`.
            max_log_entry_length: see `tokenize`.
            return_tensors: `"pt"`, `"np"`, or None for lists.
            overrides: `max_sequence_length`, `stride`, `window_seconds`, `session_pattern`; see `sequence_rule`.

        Returns:
            `input_ids` and `attention_mask` `(distinct_entries, tokens)`, `entry_index` `(sequences, entries)`, -1
            where padded; int64.

        Raises:
            ValueError: see `parse`, `tokenize` and `cut`.
        """
        parsed = self.parse(log)
        sequences = self.cut(parsed, **overrides)
        token_ids, _ = self.tokenize(parsed.distinct.to_pylist(), max_log_entry_length)
        inputs = {name: tensor.numpy() for name, tensor in self.pad(token_ids).items()}
        inputs["entry_index"] = pad_sequences([parsed.entry_index[positions] for positions in sequences])
        if return_tensors is None:
            return BatchFeature({name: values.tolist() for name, values in inputs.items()})
        return BatchFeature(inputs, tensor_type=return_tensors)


LogMoEProcessor.register_for_auto_class("AutoProcessor")

__all__ = ["LogMoEProcessor"]
