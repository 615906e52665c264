"""The term of words: what word pieces speak for "anomaly", learned before the stack is trained.

A logistic regression on the distinct training logs: of each log, in what share of its entries a word piece occurs.
Words tell at once what a stack on frozen embeddings has to find out; on most logs both together know more.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from logmoe import LogMoEForSequenceClassification, LogMoEProcessor
from logmoe.predicting_logmoe import ENTRIES_PER_CALL
from logmoe.training.baselines import count_entries
from logmoe.training.logs import LabelledLogs, LogStore

# What a word piece in every entry of a log counts for the penalty on weights (L2, C=1). With 1 weights stay too small.
# This, and the bound of 2 logits, were chosen on validation data of six services, LO2, MultiLog and Spirit, and within
# the first 65% of BGL and 80% of HDFS.
SCALE = 10.0


@dataclass(frozen=True)
class Words:
    """A fitted term of words.

    Attributes:
        weight: of each word piece, float32 `(vocab_size,)`, 0 of those that no training log has.
        bias: of each entry.
    """

    weight: torch.Tensor
    bias: float

    @classmethod
    def fit(
        cls, train: LabelledLogs, store: LogStore, processor: LogMoEProcessor, token_ids: Sequence[Sequence[int]]
    ) -> "Words":
        """Fits to the training logs.

        Args:
            train: the training split, with both labels.
            store: holds the logs.
            processor: whose tokenizer made the word pieces.
            token_ids: of each row of the store.
        """
        vocab_size = len(processor.tokenizer)
        special = set(processor.tokenizer.all_special_ids)
        pieces = [np.array(sorted(set(ids) - special), np.int64) for ids in token_ids]
        ends = np.cumsum([0, *map(len, pieces)])
        has = sparse.csr_matrix((np.ones(ends[-1]), np.concatenate(pieces), ends), (len(pieces), vocab_size))
        pairs = np.unique(train.distinct_log * 2 + train.labels)  # the same log may carry either label
        counts = count_entries(store, pairs // 2, np.arange(len(token_ids)), len(token_ids))
        entries = np.asarray(counts.sum(axis=1)).ravel()
        shares = (sparse.diags(SCALE / entries) @ counts @ has).tocsc()
        columns = np.unique(shares.nonzero()[1])
        if len(columns) == 0:  # all words are unknown to the tokenizer
            return cls(torch.zeros(vocab_size), 0.0)
        model = LogisticRegression(max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is good enough
            model.fit(shares[:, columns].tocsr(), pairs % 2)
        weight = torch.zeros(vocab_size)
        weight[torch.from_numpy(columns).long()] = torch.from_numpy(SCALE * model.coef_[0]).float()
        return cls(weight, float(model.intercept_[0]))

    @torch.no_grad()
    def put_into(self, model: LogMoEForSequenceClassification) -> None:
        """Sets the term of a model, whose encoder may have embeddings to spare."""
        term: Any = model.word_term
        term.weight.zero_()
        term.weight[: len(self.weight)] = self.weight
        term.bias.fill_(self.bias)


@torch.no_grad()
def with_words(
    embeds: torch.Tensor,
    model: LogMoEForSequenceClassification,
    processor: LogMoEProcessor,
    token_ids: Sequence[list[int]],
) -> torch.Tensor:
    """Embeddings `(entries, encoder_hidden)` with what the words of each entry speak for, as the model takes them."""
    parts = []
    for start in range(0, len(token_ids), ENTRIES_PER_CALL):
        chosen = slice(start, start + ENTRIES_PER_CALL)
        padded = {name: ids.to(model.device) for name, ids in processor.pad(list(token_ids[chosen])).items()}
        parts.append(model.with_words(embeds[chosen].to(model.device), **padded).to(embeds.device))
    return torch.cat(parts)
