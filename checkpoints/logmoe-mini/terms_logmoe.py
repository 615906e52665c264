"""What the model reads beside embeddings: features of entries and of sequences, which say how they depart from a
reference; and word pieces.

Features of entries go into the sequence stack, added to each entry's projected embedding. Features of sequences stay
outside it: each term, a small network of its own, adds what it finds to the logits, so that its share can be shown; so
does the term of words. The model in `modeling_logmoe.py` builds on these; what there is is said by its config.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .configuration_logmoe import LogMoEConfig

# A feature whose standard deviation in training data is smaller does not vary; dividing by that would turn the first
# other value into a shout.
SMALLEST_DEVIATION = 1e-4
# Below this change of a hidden unit, its slope in the middle is more exact in float32 than a difference of two values.
SMALLEST_CHANGE = 1e-2
# A narrower piece of a feature's range is a step.
SMALLEST_PIECE = 1e-6


def require_features(argument: str, values: Any, shape: Sequence[int], names: list[str]) -> None:
    """Refuses features that are not `(*shape, len(names))`, an array or a tensor; the message names the argument."""
    if not names:
        raise ValueError(
            f"`{argument}` cannot be used: this model reads no such features, its config names none. Load a "
            "checkpoint that was trained with them, or leave them out."
        )
    if tuple(values.shape) != (*shape, len(names)):
        raise ValueError(
            f"`{argument}` must have shape {(*shape, len(names))}, the last of it the {len(names)} features of the "
            f"config ({', '.join(names[:3])}{', …' if len(names) > 3 else ''}), got {tuple(values.shape)}."
        )


def has_reference(entry_features: torch.Tensor, entry_mask: torch.Tensor) -> torch.Tensor:
    """Which sequences were seen through a reference: those with any feature that is not NaN.

    Args:
        entry_features: `(sequences, entries, features)`.
        entry_mask: bool `(sequences, entries)`; padding does not count.

    Returns:
        bool `(sequences,)`.
    """
    return (~entry_features.isnan() & entry_mask[..., None]).flatten(1).any(dim=1)


class LogMoEFloat32Module(nn.Module):
    """Stays in float32 when the model is converted: what it computes costs little, and should not be rounded."""

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> nn.Module:
        def without_rounding(tensor: torch.Tensor) -> torch.Tensor:
            converted = fn(tensor)
            return converted if converted.dtype == tensor.dtype else tensor.to(converted.device)

        return super()._apply(without_rounding, recurse)


class LogMoEFeatureScaler(LogMoEFloat32Module):
    """Standardises features by numbers that are saved with the model, and clips them."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, num_features: int, clip: float):
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(num_features, dtype=torch.float32))
        self.register_buffer("scale", torch.ones(num_features, dtype=torch.float32))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """
        Args:
            features: `(..., features)`, of any precision; NaN where a feature is not available.

        Returns:
            float32, shaped as `features`, within ± `clip`; 0, the mean of training data, in place of NaN.
        """
        return ((features.float() - self.mean) / self.scale).nan_to_num(nan=0.0).clamp(-self.clip, self.clip)

    @torch.no_grad()
    def fit(self, features: torch.Tensor) -> None:
        """Sets mean and scale from `(..., features)`; values that are not finite do not count."""
        # Feature by feature: all at once in float64 would be many times the memory of the features themselves.
        for place, values in enumerate(features.reshape(-1, features.shape[-1]).unbind(dim=1)):
            values = values[values.isfinite()].double()
            deviation, mean = torch.std_mean(values, correction=0) if len(values) else (0.0, 0.0)
            self.mean[place] = float(mean)
            self.scale[place] = float(deviation) if deviation > SMALLEST_DEVIATION else 1.0


class LogMoEFeaturePieces(LogMoEFloat32Module):
    """Piecewise linear encoding of features (Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep
    Learning", NeurIPS 2022): a network on it can bend anywhere in a feature's range, as trees can.
    """

    edges: torch.Tensor

    def __init__(self, num_features: int, num_pieces: int):
        super().__init__()
        self.register_buffer("edges", torch.zeros(num_features, num_pieces + 1, dtype=torch.float32))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """
        Args:
            features: `(..., features)`; NaN where a feature is not available.

        Returns:
            float32 `(..., features, pieces)`: how far a value fills each piece, from -0.5 to 0.5; 0 for NaN.
        """
        start, end = self.edges[:, :-1], self.edges[:, 1:]
        values = features.float()[..., None]
        width = (end - start).clamp(min=SMALLEST_PIECE)
        # Where many values are the same, a piece is a step.
        filled = torch.where(end - start > SMALLEST_PIECE, (values - start) / width, (values >= end).float())
        return torch.where(values.isnan(), 0.0, filled.clamp(0, 1) - 0.5)

    @torch.no_grad()
    def fit(self, features: torch.Tensor) -> None:
        """Sets the edges to quantiles of `(..., features)`; values that are not finite do not count."""
        shares = torch.linspace(0, 1, self.edges.shape[1], dtype=torch.float64)
        for place, values in enumerate(features.reshape(-1, features.shape[-1]).unbind(dim=1)):
            values = values[values.isfinite()].double()
            self.edges[place] = torch.quantile(values, shares).float() if len(values) else 0.0


class LogMoEEntryFeatures(nn.Module):
    """What the features of entries add to their states before the first layer.

    A linear map: the experts of the first layer are the hidden layer.
    """

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        self.scaler = LogMoEFeatureScaler(len(config.entry_feature_names), config.feature_clip)
        self.projection = nn.Linear(len(config.entry_feature_names), config.hidden_size)
        self.no_reference = nn.Parameter(torch.empty(config.hidden_size))

    def forward(self, entry_features: torch.Tensor | None, entry_mask: torch.Tensor) -> torch.Tensor:
        """
        Args:
            entry_features: `(sequences, entries, features)` before standardising, NaN where a feature is not
                available; None, or all NaN in a sequence, for "no reference".
            entry_mask: bool `(sequences, entries)`.

        Returns:
            `(sequences, entries, hidden_size)`, 0 at padding; `(hidden_size,)`, the same for all entries, without
            features.
        """
        if entry_features is None:
            # The zero term keeps the projection in the graph: DDP fails on a parameter without a gradient.
            return self.no_reference + 0.0 * (self.projection.weight.sum(dim=1) + self.projection.bias)
        scaled = self.scaler(entry_features).to(self.projection.weight.dtype)
        is_judged = has_reference(entry_features, entry_mask)[:, None, None]
        states = torch.where(is_judged, self.projection(scaled), self.no_reference)
        return states.masked_fill(~entry_mask[..., None], 0.0)


class LogMoETermLinear(nn.Linear):
    """A linear layer in float32, known by its class where weights are initialised."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, dtype=torch.float32)


class LogMoETerm(nn.Module):
    """One hidden layer over some features of a sequence, which gives what they speak for "anomaly", in logit units."""

    def __init__(self, num_features: int, hidden_size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = LogMoETermLinear(num_features, hidden_size)
        self.output = LogMoETermLinear(hidden_size, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Margins `(sequences,)` of encoded features `(sequences, features)`."""
        return self.output(self.dropout(F.gelu(self.hidden(self.dropout(features))))).squeeze(-1)

    def shares(self, features: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
        """Integrated gradients of the margin from `baseline` to `features`, without dropout.

        Along a straight line each hidden unit sees a straight line: the integral of its slope is its rise over its
        run, so the whole is exact without steps.

        Args:
            features: encoded, `(sequences, features)`.
            baseline: encoded, `(features,)`.

        Returns:
            `(sequences, features)`; rows sum to margin(features) - margin(baseline).
        """
        start, end = self.hidden(baseline), self.hidden(features)  # (hidden,), (sequences, hidden)
        change, middle = end - start, (end + start) / 2
        slope_in_the_middle = (
            torch.special.ndtr(middle) + middle * torch.exp(-middle.square() / 2) / (2 * torch.pi) ** 0.5
        )
        rise_over_run = (F.gelu(end) - F.gelu(start)) / change
        slopes = torch.where(change.abs() < SMALLEST_CHANGE, slope_in_the_middle, rise_over_run)
        return (features - baseline) * ((slopes * self.output.weight) @ self.hidden.weight)


class LogMoESequenceTerms(LogMoEFloat32Module):
    """The terms outside the stack: what features of sequences add to the anomaly logit minus the normal logit."""

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        names = config.sequence_feature_names
        # A term that reads all features, as they stand, needs no copy of them.
        self.columns: dict[str, list[int] | slice] = {
            term: slice(0, len(names)) if read == names else [names.index(name) for name in read]
            for term, read in config.sequence_feature_terms.items()
        }
        self.scaler = LogMoEFeatureScaler(len(names), config.feature_clip)
        self.pieces = LogMoEFeaturePieces(len(names), config.feature_pieces) if config.feature_pieces else None
        width = 1 + config.feature_pieces
        self.terms = nn.ModuleDict(
            {
                term: LogMoETerm(len(read) * width, config.feature_hidden_size, config.feature_dropout_prob)
                for term, read in config.sequence_feature_terms.items()
            }
        )

    @torch.no_grad()
    def align(self) -> None:
        """Copies weights that are mapped from a file, where they begin anywhere, to memory of their own.

        Sums over a few sequences are rounded otherwise there, in the last bit.
        """
        for parameter in self.parameters():
            parameter.data = parameter.data.clone()

    def encode(self, sequence_features: torch.Tensor) -> torch.Tensor:
        """What the terms read: `(..., features)` becomes `(..., features, 1 + pieces)`."""
        scaled = self.scaler(sequence_features)[..., None]
        return scaled if self.pieces is None else torch.cat([scaled, self.pieces(sequence_features)], dim=-1)

    def fit(self, sequence_features: torch.Tensor) -> None:
        """Sets what features are encoded by, from `(sequences, features)` of training data."""
        self.scaler.fit(sequence_features)
        if self.pieces is not None:
            self.pieces.fit(sequence_features)

    def forward(self, sequence_features: torch.Tensor) -> torch.Tensor:
        """
        Args:
            sequence_features: `(sequences, features)` before standardising, NaN where a feature is not available.

        Returns:
            float32 margins `(sequences, terms)`; 0 where all features are NaN.
        """
        # float32 whatever the model's precision: ranks and thresholds are made of these sums.
        with torch.autocast(sequence_features.device.type, enabled=False):
            encoded = self.encode(sequence_features)
            margins = torch.stack(
                [term(encoded[:, self.columns[name]].flatten(1)) for name, term in self.terms.items()], dim=-1
            )
        # Not left out where there are no features: DDP fails on a parameter without a gradient.
        return torch.where(sequence_features.isnan().all(dim=-1, keepdim=True), 0.0, margins)

    def shares(self, sequence_features: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
        """Integrated gradients of each term, see [`LogMoEForSequenceClassification.feature_shares`].

        Args:
            sequence_features: as in `forward`.
            baseline: `(features,)`, likewise.

        Returns:
            `(sequences, terms, features)`, 0 for features that a term does not read and where all features are NaN.
        """
        encoded, encoded_baseline = self.encode(sequence_features), self.encode(baseline)
        shares = encoded.new_zeros(len(encoded), len(self.columns), encoded.shape[1])
        for place, (name, columns) in enumerate(self.columns.items()):
            term: Any = self.terms[name]
            of_term = term.shares(encoded[:, columns].flatten(1), encoded_baseline[columns].flatten())
            shares[:, place, columns] = of_term.unflatten(1, (-1, encoded.shape[2])).sum(dim=-1)
        return shares.masked_fill(sequence_features.isnan().all(dim=-1)[:, None, None], 0.0)


class LogMoEWordTerm(LogMoEFloat32Module):
    """What the word pieces of an entry speak for "anomaly", each for itself: a logistic regression on bags of words.

    Fitted before the stack is trained, and not with it: the stack would learn nothing of what words tell already.

    Args:
        vocab_size: of the tokenizer.
        bound: what all words of a sequence together add is less, in logit units.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, vocab_size: int, bound: float):
        super().__init__()
        self.bound = bound
        self.register_buffer("weight", torch.zeros(vocab_size, dtype=torch.float32))
        self.register_buffer("bias", torch.zeros((), dtype=torch.float32))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            input_ids: int64 `(..., tokens)`.
            attention_mask: `(..., tokens)`, 1 at real tokens; by default all are real.

        Returns:
            float32 `(...)`, in logit units: the weights of an entry's distinct word pieces, and the bias.
        """
        ids = input_ids if attention_mask is None else input_ids.masked_fill(attention_mask == 0, -1)
        ids = ids.sort(dim=-1, descending=True).values  # padding last: sums do not depend on how much there is
        is_new = ids >= 0
        is_new[..., 1:] &= ids[..., 1:] != ids[..., :-1]
        return (self.weight[ids.clamp(min=0)] * is_new).sum(dim=-1) + self.bias

    def shares(self, words: torch.Tensor, entry_mask: torch.Tensor) -> torch.Tensor:
        """What entries add to the margin of their sequence: of the mean over its entries, drawn into the bound.

        Args:
            words: what `forward` gives, `(sequences, entries)`.
            entry_mask: bool `(sequences, entries)`.

        Returns:
            float32 `(sequences, entries)`, 0 at padding; a sequence's shares add up to bound · tanh(mean / bound).
        """
        shares = words.masked_fill(~entry_mask, 0.0) / entry_mask.sum(dim=1, keepdim=True)
        margins = shares.sum(dim=1, keepdim=True) / self.bound
        drawn = torch.where(margins.abs() < SMALLEST_CHANGE, 1 - margins.square() / 3, margins.tanh() / margins)
        return shares * drawn

    @torch.no_grad()
    def resize(self, vocab_size: int) -> None:
        """Makes room for more word pieces, whose weight is 0, or forgets the last ones."""
        weight = self.weight.new_zeros(vocab_size)
        kept = min(vocab_size, len(self.weight))
        weight[:kept] = self.weight[:kept]
        self.weight = weight


__all__ = [
    "LogMoEEntryFeatures",
    "LogMoEFeaturePieces",
    "LogMoEFeatureScaler",
    "LogMoESequenceTerms",
    "LogMoETerm",
    "LogMoETermLinear",
    "LogMoEWordTerm",
    "has_reference",
    "require_features",
]
