"""LogMoE: a text encoder reads each distinct log entry, a stack of attention layers with Top-P mixtures of experts
reads the sequence of entries, and an additive head says normal or anomaly, and which entries made it so.

Comes after the processor, which makes its inputs; called by the predictor and by training. The import of the
pipeline at the foot makes a saved model whole, and is explained there.

What is unusual here:
- the encoder runs once per distinct entry, and its embedding is gathered wherever the entry occurs;
- the router keeps a variable number of experts per entry (Top-P), and only kept (entry, expert) pairs are computed;
- the logits are a sum over entries, so each entry's share in them is exact, not a saliency estimate;
- beside text it reads how entries and sequences depart from a reference, where the config names such features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN

# Private to transformers, but only this wrapper knows where torch.nn.functional.grouped_mm can be compiled.
from transformers.integrations.moe import _grouped_mm as grouped_mm
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import ModelOutput, logging
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_logmoe import LogMoEConfig
from .terms_logmoe import (
    LogMoEEntryFeatures,
    LogMoEFeaturePieces,
    LogMoEFeatureScaler,
    LogMoESequenceTerms,
    LogMoETermLinear,
    LogMoEWordTerm,
    has_reference,
    require_features,
)

logger = logging.get_logger(__name__)

# Tokens per encoder call, padding included. On a CPU, few enough that the entries of a call have similar lengths and
# stay in its cache; an accelerator needs more work at once.
TOKENS_PER_BATCH = {"cpu": 1024}
DEFAULT_TOKENS_PER_BATCH = 32768
# In half precision, oneDNN compiles and caches a kernel for each row count it meets, which takes several times as long
# as the product itself. Rounding row counts up to multiples of this keeps the kernels few.
ROWS_PER_BUCKET = 64
# Of initial embeddings and routers.
DEFAULT_STD = 0.02
# Whitening: directions with a smaller share of the largest variance are rounding, and a share of the mean variance is
# added to each.
SMALLEST_VARIANCE, SHRINKAGE = 1e-6, 0.1


@dataclass
class LogMoEModelOutput(ModelOutput):
    """Output of [`LogMoEModel`].

    Attributes:
        last_hidden_state: `(sequences, entries, hidden_size)`, after the final norm.
        entry_mask: bool `(sequences, entries)`, true where there is an entry.
        load_balance_loss, router_entropy_loss, router_z_loss: scalars, unweighted, averaged over layers. Like the
            next three, None unless router logits were requested.
        expert_load: `(num_hidden_layers, num_experts)`, each expert's share of a layer's kept (entry, expert) pairs.
        mean_active_experts: scalar, experts kept per entry, averaged over entries and layers.
        router_logits: one `(sequences, entries, num_experts)` per layer, before the softmax, 0 at padding.
        hidden_states, attentions: those of the sequence stack, as everywhere in transformers.
    """

    last_hidden_state: torch.Tensor | None = None
    entry_mask: torch.Tensor | None = None
    load_balance_loss: torch.Tensor | None = None
    router_entropy_loss: torch.Tensor | None = None
    router_z_loss: torch.Tensor | None = None
    expert_load: torch.Tensor | None = None
    mean_active_experts: torch.Tensor | None = None
    router_logits: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class LogMoESequenceClassifierOutput(ModelOutput):
    """Output of [`LogMoEForSequenceClassification`].

    Attributes:
        loss: scalar, cross-entropy plus the weighted router losses; None without labels.
        logits: `(sequences, 2)`, normal then anomaly.
        entry_scores: `(sequences, entries)`, how much each entry speaks for "anomaly", in logit units, 0 at padding.
            A sequence's scores and term margins, plus the difference of the head's two biases, add up to its anomaly
            logit minus its normal logit.
        term_margins: float32 `(sequences, terms)`, what each of `config.sequence_feature_terms`, in their order, adds
            to the anomaly logit minus the normal logit; 0 for a sequence without features. None if the config has no
            terms.
        load_balance_loss, router_entropy_loss, router_z_loss, expert_load, mean_active_experts: as in
            [`LogMoEModelOutput`]; None unless labels were given or router logits requested.
        router_logits, hidden_states, attentions: as in [`LogMoEModelOutput`], on request.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    entry_scores: torch.Tensor | None = None
    load_balance_loss: torch.Tensor | None = None
    router_entropy_loss: torch.Tensor | None = None
    router_z_loss: torch.Tensor | None = None
    expert_load: torch.Tensor | None = None
    mean_active_experts: torch.Tensor | None = None
    router_logits: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    # Last, so that the places of the others in a tuple stay.
    term_margins: torch.Tensor | None = None


def pad_to_bucket(index: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Repeats the last index up to a multiple of `ROWS_PER_BUCKET`, in half precision on a CPU.

    Not under autocast, where the states are float32 and only the products are in half precision.

    Args:
        index: `(rows,)`, into the rows of `like`.
        like: the states to pick rows from.

    Returns:
        `(padded_rows,)`; `index` itself where padding would not pay.
    """
    is_half_on_cpu = like.device.type == "cpu" and like.dtype in (torch.bfloat16, torch.float16)
    # A traced or compiled graph would bake in the row count of its example.
    if not is_half_on_cpu or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return index
    return torch.cat([index, index[-1:].expand(-len(index) % ROWS_PER_BUCKET)])


def top_p_mask(router_probs: torch.Tensor, top_p: float) -> torch.Tensor:
    """Selects the experts that each row keeps (Huang et al., "Harder Task Needs More Experts", ACL 2024).

    In descending order of probability, ties by expert index, an expert is kept while the probabilities before it sum
    to less than `top_p`. So the first expert is always kept, and so is the one that crosses `top_p`.

    Args:
        router_probs: `(..., num_experts)`, each row summing to 1.
        top_p: in (0, 1]; 1 keeps every expert.

    Returns:
        bool `(..., num_experts)`.
    """
    if top_p >= 1:  # Rounding may bring the sum to 1 before the last expert.
        return torch.ones_like(router_probs, dtype=torch.bool)
    sorted_probs, expert_index = router_probs.sort(dim=-1, descending=True, stable=True)
    # Shifted rather than cumsum - p, whose rounding could push an expert across the boundary.
    mass_before = F.pad(sorted_probs.cumsum(dim=-1)[..., :-1], (1, 0))
    return torch.zeros_like(router_probs, dtype=torch.bool).scatter(-1, expert_index, mass_before < top_p)


class LogMoETopPRouter(nn.Module):
    """Chooses the experts that each entry keeps, and weighs them."""

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states: `(rows, hidden_size)`.

        Returns:
            Three `(rows, num_experts)`: float32 logits before the softmax; float32 weights, 0 for experts that are
            not kept; the bool mask of kept experts.
        """
        # float32 whatever the model's precision: rounded probabilities would change which experts are kept.
        with torch.autocast(hidden_states.device.type, enabled=False):
            router_logits = F.linear(hidden_states.float(), self.weight.float())  # (rows, num_experts)
            router_probs = router_logits.softmax(dim=-1)
        if self.config.routing_mode == "dense":
            # The zero term keeps the router in the graph: DDP fails on a parameter without a gradient.
            weights = torch.full_like(router_probs, 1 / self.config.num_experts) + 0.0 * router_probs
            return router_logits, weights, torch.ones_like(router_probs, dtype=torch.bool)
        kept = top_p_mask(router_probs, self.config.router_top_p)
        # Not rescaled to sum to one: the weight of a single kept expert would be constant, and the router would learn
        # nothing.
        return router_logits, router_probs * kept, kept


class LogMoEExperts(nn.Module):
    """Two-layer feed-forward experts with stacked weights; computes only the kept (row, expert) pairs."""

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        self.num_experts = config.num_experts
        self.up_proj = nn.Parameter(torch.empty(config.num_experts, config.moe_intermediate_size, config.hidden_size))
        self.down_proj = nn.Parameter(
            torch.empty(config.num_experts, config.hidden_size, config.moe_intermediate_size)
        )
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: torch.Tensor, weights: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """
        Args:
            hidden_states: `(rows, hidden_size)`.
            weights: `(rows, num_experts)`.
            kept: bool `(rows, num_experts)`.

        Returns:
            `(rows, hidden_size)`: each row's weighted sum over its kept experts; 0 for a row that keeps none.
        """
        # A compiled graph needs shapes that do not depend on the number of kept pairs, known only at run time. On a
        # GPU, one kernel for all experts, in the precisions it is made for, beats synchronising once per expert.
        is_half_on_gpu = hidden_states.is_cuda and hidden_states.dtype in (torch.bfloat16, torch.float16)
        is_aligned = all(size % 8 == 0 for size in self.up_proj.shape[1:])  # to the kernel's 16 bytes
        is_grouped = torch.compiler.is_compiling() or (is_half_on_gpu and is_aligned)
        compute = self._grouped_by_expert if is_grouped else self._one_by_one
        return compute(hidden_states, weights, kept)

    def _one_by_one(self, hidden_states: torch.Tensor, weights: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        output = torch.zeros_like(hidden_states)
        for expert in range(self.num_experts):
            # An expert without rows still runs, on nothing: its gradient is then zero, not None.
            rows = kept[:, expert].nonzero().squeeze(-1)  # (pairs,)
            padded = pad_to_bucket(rows, hidden_states)
            pair_states = F.linear(hidden_states.index_select(0, padded), self.up_proj[expert])
            pair_states = self.act_fn(pair_states)  # (pairs, intermediate)
            # Weighted before the down projection: it is linear, and its output is wider.
            pair_states = pair_states * weights[padded, expert, None].to(pair_states.dtype)
            pair_states = F.linear(pair_states, self.down_proj[expert])  # (pairs, hidden_size)
            if padded is not rows:
                pair_states = pair_states[: len(rows)]
            output.index_add_(0, rows, pair_states.to(output.dtype))
        return output

    def _grouped_by_expert(
        self, hidden_states: torch.Tensor, weights: torch.Tensor, kept: torch.Tensor
    ) -> torch.Tensor:
        expert_index = torch.arange(self.num_experts, device=kept.device)
        # Pairs sorted by expert; pairs that are not kept come last, beyond the groups.
        pairs = torch.where(kept, expert_index, self.num_experts).flatten().argsort(stable=True)  # (rows * experts,)
        group_ends = kept.sum(dim=0).cumsum(dim=0).to(torch.int32)  # (experts,)
        if not torch.compiler.is_compiling():
            pairs = pairs[: int(group_ends[-1])]  # one synchronisation, and no wasted gathering
        rows = pairs // self.num_experts
        in_group = (torch.arange(len(pairs), device=kept.device) < group_ends[-1])[:, None]
        # Beyond the groups the kernel leaves uninitialised memory, forward and backward: `where` on both sides keeps
        # it out.
        pair_states = torch.where(in_group, hidden_states[rows], 0.0)
        pair_states = self.act_fn(grouped_mm(pair_states, self.up_proj.transpose(1, 2), group_ends))
        pair_states = grouped_mm(pair_states, self.down_proj.transpose(1, 2), group_ends)
        # Masked before the product: after it, the gradient of the weights would be 0 times that memory, possibly NaN.
        pair_states = torch.where(in_group, pair_states, 0.0) * weights.flatten()[pairs, None]
        return torch.zeros_like(hidden_states).index_add(0, rows, pair_states.to(hidden_states.dtype))


class LogMoESparseMoeBlock(nn.Module):
    """Routes the real entries of a batch of sequences through their kept experts; padding stays zero."""

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        self.router = LogMoETopPRouter(config)
        self.experts = LogMoEExperts(config)

    def forward(self, hidden_states: torch.Tensor, entry_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states: `(sequences, entries, hidden_size)`.
            entry_mask: bool `(sequences, entries)`.

        Returns:
            The mixture's output, shaped as `hidden_states`, and the router logits
            `(sequences, entries, num_experts)`, both 0 at padding.
        """
        rows = hidden_states.reshape(-1, hidden_states.shape[-1])  # (sequences * entries, hidden_size)
        router_logits, weights, kept = self.router(rows)
        output = self.experts(rows, weights, kept & entry_mask.reshape(-1, 1))
        router_logits = router_logits.view(*entry_mask.shape, -1).masked_fill(~entry_mask[..., None], 0.0)
        return output.view_as(hidden_states), router_logits


def router_statistics(
    router_logits: tuple[torch.Tensor, ...],
    entry_mask: torch.Tensor,
    config: LogMoEConfig,
    average: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """The auxiliary losses by name, and the experts' load. Padding counts in none of them.

    - `load_balance_loss`: `num_experts * sum_i f_i * P_i`, with `f_i` expert i's share of the kept pairs and `P_i` its
      mean probability (Fedus et al., "Switch Transformers", 2021, eq. 4-6, with pairs in place of tokens); 1 when
      perfectly balanced.
    - `router_entropy_loss`: mean entropy of the routing distribution, in nats; low when few experts suffice (the
      dynamic loss of Huang et al., ACL 2024).
    - `router_z_loss`: mean squared log-sum-exp of the router logits (Zoph et al., "ST-MoE", 2022).

    Args:
        router_logits: one `(sequences, entries, num_experts)` per layer.
        entry_mask: bool `(sequences, entries)`.
        config: gives `routing_mode`, `router_top_p` and `num_experts`.
        average: averages a tensor, which needs no gradient, over the processes of a distributed training. Denominators
            and loads `f_i` are then those of the global batch, so that the mean over processes of each loss, and of
            its gradient, is what a single process with the whole batch would get.

    Returns:
        The three losses and `mean_active_experts` as scalars, `expert_load` as `(num_hidden_layers, num_experts)`.
    """
    average = average or (lambda tensor: tensor)
    logits = torch.stack(router_logits).float()  # (layers, sequences, entries, num_experts)
    mask = entry_mask[None, ..., None].float()  # (1, sequences, entries, 1)
    num_entries = average(mask.sum())
    probs = logits.softmax(dim=-1)
    if config.routing_mode == "dense":
        kept = torch.ones_like(probs)
    else:
        kept = top_p_mask(probs, config.router_top_p).float()
    pairs_per_expert = average((kept * mask).sum(dim=(1, 2)))  # (layers, num_experts)
    expert_load = pairs_per_expert / pairs_per_expert.sum(dim=-1, keepdim=True)
    mean_probs = (probs * mask).sum(dim=(1, 2)) / num_entries  # (layers, num_experts)
    entropy = -(probs * logits.log_softmax(dim=-1)).sum(dim=-1, keepdim=True)
    z = logits.logsumexp(dim=-1, keepdim=True)
    per_layer = num_entries * logits.shape[0]
    return {
        "load_balance_loss": config.num_experts * (expert_load * mean_probs).sum(dim=-1).mean(),
        "router_entropy_loss": (entropy * mask).sum() / per_layer,
        "router_z_loss": (z.square() * mask).sum() / per_layer,
        "expert_load": expert_load.detach(),
        "mean_active_experts": (pairs_per_expert.sum() / per_layer).detach(),
    }


def weighted_router_loss(statistics: dict[str, torch.Tensor], config: LogMoEConfig) -> torch.Tensor | float:
    """The routers' term of the training loss, a scalar; 0 in dense mode, where all experts weigh the same."""
    if config.routing_mode == "dense":
        return 0.0
    return (
        config.load_balance_loss_coef * statistics["load_balance_loss"]
        + config.router_entropy_loss_coef * statistics["router_entropy_loss"]
        + config.router_z_loss_coef * statistics["router_z_loss"]
    )


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention written out; the only implementation that returns the attention weights."""
    attn_weights = torch.matmul(query, key.transpose(2, 3)) * scaling  # (sequences, heads, entries, entries)
    if attention_mask is not None:
        attn_weights = attn_weights + attention_mask
    attn_weights = attn_weights.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    attn_weights = F.dropout(attn_weights, p=dropout, training=module.training)
    attn_output = torch.matmul(attn_weights, value).transpose(1, 2).contiguous()  # (sequences, entries, heads, head)
    return attn_output, attn_weights


class LogMoEAttention(nn.Module):
    """Multi-head self-attention over the entries of a sequence."""

    is_causal = False

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_probs_dropout_prob
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        state_index: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Args:
            hidden_states: `(sequences, entries, hidden_size)`; with `state_index`, `(distinct_states, hidden_size)`.
            attention_mask: as returned by `create_bidirectional_mask`.
            state_index: int64 `(sequences, entries)`, which distinct state stands where.

        Returns:
            `(sequences, entries, hidden_size)`, and the attention weights if the implementation returns them.
        """
        input_shape = hidden_states.shape[:-1] if state_index is None else state_index.shape  # (sequences, entries)

        def heads(projection: nn.Linear) -> torch.Tensor:  # (sequences, heads, entries, head_dim)
            states = projection(hidden_states)
            if state_index is not None:
                states = states.index_select(0, state_index.flatten())
            return states.view(*input_shape, -1, self.head_dim).transpose(1, 2)

        query, key, value = heads(self.q_proj), heads(self.k_proj), heads(self.v_proj)
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attn_output, attn_weights = attention_interface(
            self,
            query,
            key,
            value,
            attention_mask,
            scaling=self.scaling,
            dropout=self.attention_dropout if self.training else 0.0,
        )
        return self.o_proj(attn_output.reshape(*input_shape, -1)), attn_weights


class LogMoELayer(GradientCheckpointingLayer):
    """Self-attention, then the mixture of experts, each behind its own norm and added to the residual stream."""

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = LogMoEAttention(config)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.moe = LogMoESparseMoeBlock(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        entry_mask: torch.Tensor,
        state_index: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states, attention_mask, state_index: as in [`LogMoEAttention`].
            entry_mask: bool `(sequences, entries)`.

        Returns:
            The new states `(sequences, entries, hidden_size)` and the router logits
            `(sequences, entries, num_experts)`.
        """
        attn_output, _ = self.self_attn(self.input_layernorm(hidden_states), attention_mask, state_index)
        if state_index is not None:
            hidden_states = hidden_states.index_select(0, state_index.flatten()).view(attn_output.shape)
        hidden_states = hidden_states + self.dropout(attn_output)
        moe_output, router_logits = self.moe(self.post_attention_layernorm(hidden_states), entry_mask)
        return hidden_states + self.dropout(moe_output), router_logits


class LogMoESequenceStack(nn.Module):
    """Everything between encoder and head: projection, positions and layers. This is the part to `torch.compile`."""

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        self.config = config
        self.projection = nn.Linear(config.encoder_config.hidden_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_sequence_length, config.hidden_size)
        self.entry_features = LogMoEEntryFeatures(config) if config.entry_feature_names else None
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList([LogMoELayer(config) for _ in range(config.num_hidden_layers)])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        entry_embeds: torch.Tensor,
        entry_mask: torch.Tensor,
        entry_index: torch.Tensor | None = None,
        entry_features: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """
        Args:
            entry_embeds: `(sequences, entries, encoder_hidden)`; with `entry_index`,
                `(distinct_entries, encoder_hidden)`.
            entry_mask: bool `(sequences, entries)`, at least one entry per sequence.
            entry_index: int64 `(sequences, entries)`, which distinct entry stands where; ignored at padding. Not for
                training, where dropout makes the occurrences of an entry differ.
            entry_features: `(sequences, entries, features)`, as in [`LogMoEEntryFeatures`].

        Returns:
            States `(sequences, entries, hidden_size)` and the router logits of each layer.
        """
        # Counts real entries only: padding on either side leaves an entry's position alone.
        position_ids = (entry_mask.long().cumsum(dim=-1) - 1).clamp(min=0)  # (sequences, entries)
        state_index = None
        if entry_index is not None and entry_features is None:
            hidden_states, state_index = self._distinct_states(entry_embeds, entry_index, entry_mask, position_ids)
        else:
            if entry_index is not None:
                hidden_states = self._projected(entry_embeds, entry_index, entry_mask)
            else:
                # Attention gives padding weight 0, but 0 times a NaN at padding would still be NaN.
                entry_embeds = entry_embeds.masked_fill(~entry_mask[..., None], 0.0)
                if self.training and entry_features is not None and self.config.embedding_dropout_prob > 0:
                    entry_embeds = self._drop_embeddings(entry_embeds, entry_mask, entry_features)
                hidden_states = self.projection(entry_embeds)
            hidden_states = hidden_states + self.position_embeddings(position_ids)
            if self.entry_features is not None:
                hidden_states = hidden_states + self.entry_features(entry_features, entry_mask)
            hidden_states = self.dropout(hidden_states)
        # The mask depends only on the shape, dtype and device of the states.
        like = hidden_states if state_index is None else hidden_states.new_empty(()).expand(*entry_mask.shape, 1)
        attention_mask = create_bidirectional_mask(self.config, like, entry_mask)
        all_router_logits: tuple[torch.Tensor, ...] = ()
        for layer in self.layers:
            hidden_states, router_logits = layer(hidden_states, attention_mask, entry_mask, state_index)
            state_index = None
            all_router_logits += (router_logits,)
        return self.norm(hidden_states), all_router_logits

    def _drop_embeddings(
        self, entry_embeds: torch.Tensor, entry_mask: torch.Tensor, entry_features: torch.Tensor
    ) -> torch.Tensor:
        """Hides all embeddings of some sequences. Only of those with a reference: nothing is left of the others."""
        draws = torch.rand(len(entry_embeds), device=entry_embeds.device)
        is_dropped = (draws < self.config.embedding_dropout_prob) & has_reference(entry_features, entry_mask)
        return entry_embeds.masked_fill(is_dropped[:, None, None], 0.0)

    def _projected(
        self, entry_embeds: torch.Tensor, entry_index: torch.Tensor, entry_mask: torch.Tensor
    ) -> torch.Tensor:
        """Projects each distinct entry once; `(sequences, entries, hidden_size)`, 0 at padding."""
        rows, of_place = entry_index.masked_fill(~entry_mask, -1).unique(return_inverse=True)
        rows = pad_to_bucket(rows, entry_embeds).clamp(min=0)
        hidden_states = self.projection(entry_embeds[rows]).index_select(0, of_place.flatten())
        return hidden_states.view(*entry_mask.shape, -1).masked_fill(~entry_mask[..., None], 0.0)

    def _distinct_states(
        self,
        entry_embeds: torch.Tensor,
        entry_index: torch.Tensor,
        entry_mask: torch.Tensor,
        position_ids: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes each state before the first layer once: until attention mixes them, occurrences of an entry differ
        only in position.

        Returns:
            `(distinct_states, hidden_size)`, one state per (entry, position) pair that occurs; and int64
            `(sequences, entries)`, which state stands where.
        """
        positions = self.config.max_sequence_length
        pairs = (entry_index * positions + position_ids).masked_fill(~entry_mask, -1)
        pairs, state_index = pairs.unique(return_inverse=True)
        pairs = pad_to_bucket(pairs, entry_embeds)
        is_entry = pairs[:, None] >= 0
        pairs = pairs.clamp(min=0)
        rows, of_pair = (pairs // positions).unique(return_inverse=True)
        rows = pad_to_bucket(rows, entry_embeds)
        hidden_states = self.projection(entry_embeds[rows])[of_pair] + self.position_embeddings(pairs % positions)
        if self.entry_features is not None:
            hidden_states = hidden_states + self.entry_features(None, entry_mask)
        return torch.where(is_entry, hidden_states, 0.0), state_index


class LogMoEClassificationHead(nn.Module):
    """Additive attention pooling: the logits are a weighted sum over entries, so each entry's share is exact.

    Each entry's state is scaled by an attention weight (Ilse et al., "Attention-based Deep Multiple Instance
    Learning", 2018) and classified before the sum rather than after it (Javed et al., "Additive MIL", NeurIPS 2022).
    """

    def __init__(self, config: LogMoEConfig):
        super().__init__()
        self.attention_hidden = nn.Linear(config.hidden_size, config.hidden_size)
        self.attention_score = nn.Linear(config.hidden_size, 1, bias=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, hidden_states: torch.Tensor, entry_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states: `(sequences, entries, hidden_size)`.
            entry_mask: bool `(sequences, entries)`.

        Returns:
            Logits `(sequences, 2)`, and each entry's share in them `(sequences, entries, 2)`, 0 at padding; both
            float32. A sequence's shares add up to its logits minus the classifier's bias.
        """
        scores = self.attention_score(self.attention_hidden(hidden_states).tanh()).squeeze(-1)
        scores = scores.float().masked_fill(~entry_mask, float("-inf"))
        pooling_weights = scores.softmax(dim=-1)  # (sequences, entries)
        evidence = F.linear(hidden_states, self.classifier.weight).float()  # (sequences, entries, 2)
        shares = (pooling_weights[..., None] * evidence).masked_fill(~entry_mask[..., None], 0.0)
        return shares.sum(dim=1) + self.classifier.bias.float(), shares


class LogMoEPreTrainedModel(PreTrainedModel):
    """Weight initialisation, loading and saving, shared by the LogMoE models."""

    config: LogMoEConfig
    config_class = LogMoEConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("text",)
    supports_gradient_checkpointing = True
    # The loss is a mean over sequences plus means over entries: the Trainer must not rescale it by item counts.
    accepts_loss_kwargs = False
    _no_split_modules = ["LogMoELayer"]
    _supports_sdpa = True
    _supports_attention_backend = True
    # What `LogMoEFloat32Module` sees to elsewhere, for loading.
    _keep_in_fp32_modules_strict = ["sequence_terms", "entry_features.scaler", "word_term"]
    _can_record_outputs = {
        "hidden_states": OutputRecorder(LogMoELayer, index=0),
        "attentions": OutputRecorder(LogMoEAttention, index=1),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        given = self.config.initializer_range
        std = DEFAULT_STD if given is None else given
        if isinstance(module, LogMoETopPRouter):
            init.normal_(module.weight, mean=0.0, std=std)  # Small, so that no expert is preferred at first.
        elif isinstance(module, LogMoEExperts):
            for weight in (module.up_proj, module.down_proj):
                init.normal_(weight, mean=0.0, std=weight.shape[-1] ** -0.5 if given is None else given)
        elif type(module) is nn.Linear and given is None:
            # Of a narrow stack, weights of 0.02 leave next to nothing of the differences between entries.
            init.normal_(module.weight, mean=0.0, std=module.in_features**-0.5)
        elif isinstance(module, LogMoEEntryFeatures):
            init.normal_(module.no_reference, mean=0.0, std=std)
        elif isinstance(module, LogMoEFeatureScaler):
            init.zeros_(module.mean)
            init.ones_(module.scale)
        elif isinstance(module, LogMoEFeaturePieces):
            init.zeros_(module.edges)
        elif isinstance(module, LogMoEWordTerm):
            init.zeros_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, LogMoETermLinear):
            # In place of what it got as a linear layer: a term is no deep stack, and from `initializer_range` it would
            # hardly move in the few steps that it takes.
            bound = module.in_features**-0.5  # torch's own
            init.uniform_(module.weight, -bound, bound)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.base_model.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.base_model.encoder.set_input_embeddings(value)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Resizes the encoder's embeddings, and `encoder_config.vocab_size` with them: loading rebuilds from it."""
        embeddings = self.base_model.encoder.resize_token_embeddings(*args, **kwargs)
        self.config.encoder_config.vocab_size = self.base_model.encoder.config.vocab_size
        if (word_term := getattr(self, "word_term", None)) is not None:
            word_term.resize(self.config.encoder_config.vocab_size)
        return embeddings


class LogMoEModel(LogMoEPreTrainedModel):
    """The encoder and the sequence stack, without a head."""

    # So that a classifier's checkpoint loads without a warning.
    _keys_to_ignore_on_load_unexpected = [r"^classification_head\.", r"^sequence_terms\.", r"^word_term\."]

    def __init__(self, config: LogMoEConfig):
        super().__init__(config)
        # Default of `encode_entries`; None for what suits the device.
        self.tokens_per_batch: int | None = None
        self.encoder = AutoModel.from_config(config.encoder_config, trust_remote_code=False)
        _drop_pooler(self.encoder)
        self.sequence_stack = LogMoESequenceStack(config)
        self.post_init()

    def encode_entries(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        tokens_per_batch: int | None = None,
    ) -> torch.Tensor:
        """Encodes log entries, each on its own.

        Args:
            input_ids: int64 `(entries, tokens)`.
            attention_mask: `(entries, tokens)`, 1 at real tokens; by default all are real.
            tokens_per_batch: tokens per encoder call, padding included; a call takes at least one entry. By default
                `self.tokens_per_batch`, or else what suits the device. Changes memory and time, not the embeddings.

        Returns:
            Embeddings `(entries, encoder_hidden)`.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if tokens_per_batch is None:
            tokens_per_batch = self.tokens_per_batch
        if tokens_per_batch is None:
            tokens_per_batch = TOKENS_PER_BATCH.get(input_ids.device.type, DEFAULT_TOKENS_PER_BATCH)
        if not bool(attention_mask[:, :1].all()):
            # Padded on the left: move the real tokens to the front, in order.
            to_front = attention_mask.argsort(dim=1, descending=True, stable=True)
            input_ids, attention_mask = input_ids.gather(1, to_front), attention_mask.gather(1, to_front)
        # Entries of similar length go together: logs have many short entries and a few very long ones, and padding the
        # short ones to the longest would be most of the work.
        lengths, order = attention_mask.sum(dim=1).sort(descending=True, stable=True)
        sorted_embeds = []
        start, sorted_lengths = 0, lengths.tolist()
        while start < len(order):
            rows = order[start : start + max(1, tokens_per_batch // max(1, sorted_lengths[start]))]
            longest = max(1, sorted_lengths[start])
            sorted_embeds.append(self._encode_batch(input_ids[rows, :longest], attention_mask[rows, :longest]))
            start += len(rows)
        return torch.cat(sorted_embeds)[order.argsort()]

    def _encode_batch(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """One encoder call: embeddings `(entries, encoder_hidden)` of tokens `(entries, tokens)`."""
        token_states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.entry_pooling == "cls":
            return token_states[:, 0]
        mask = attention_mask[..., None].to(token_states.dtype)  # (entries, tokens, 1)
        return (token_states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)

    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        entry_index: torch.Tensor | None = None,
        entry_embeds: torch.Tensor | None = None,
        entry_mask: torch.Tensor | None = None,
        output_router_logits: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        entry_features: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> LogMoEModelOutput:
        """Runs the model over a batch of sequences, given in any of three forms that yield the same numbers.

        Args:
            input_ids: int64 tokens: of each distinct entry, `(distinct_entries, tokens)`, in the compact form; of
                every entry, `(sequences, entries, tokens)`, in the plain form.
            attention_mask: shaped as `input_ids`, 1 at real tokens; by default all are real. In the plain form, an
                entry without real tokens is padding.
            entry_index: int64 `(sequences, entries)`, which distinct entry stands where, -1 at padding; selects the
                compact form.
            entry_embeds: embeddings from `encode_entries`, in place of `input_ids`: with `entry_index`,
                `(distinct_entries, encoder_hidden)`; without, `(sequences, entries, encoder_hidden)`.
            entry_mask: `(sequences, entries)`, 1 at real entries, for `entry_embeds` without `entry_index`; by default
                all are real.
            output_router_logits: also return the router logits, the auxiliary losses and the experts' load.
            output_hidden_states: also return the states around each layer.
            output_attentions: also return the attention weights; needs `attn_implementation="eager"`.
            entry_features: `(sequences, entries, features)`, how each entry departs from a reference, with any of the
                three forms and before standardising, in the order of `config.entry_feature_names`; NaN where a feature
                is not available. By default, and in sequences whose features are all NaN, a learned vector stands
                for "no reference". What stands at padding does not matter.

        Raises:
            TypeError: an argument is not listed here.
            ValueError: none or several of the three forms are given, shapes do not match, `entry_index` is out of
                range, a sequence has no entries or more than `max_sequence_length`, or the config names no features or
                others than are given.
        """
        _refuse_unknown_arguments(kwargs)
        entry_embeds, entry_mask = self._entry_embeddings(
            input_ids, attention_mask, entry_index, entry_embeds, entry_mask
        )
        if output_attentions and self.config._attn_implementation != "eager":
            logger.warning_once("`output_attentions` needs `attn_implementation='eager'`: no attentions are returned.")
        if entry_mask.shape[1] > self.config.max_sequence_length:
            raise ValueError(
                f"A sequence has at most {self.config.max_sequence_length} entries (`max_sequence_length`), got "
                f"{entry_mask.shape[1]}: cut the log into sequences with LogMoEProcessor."
            )
        _require_entries(entry_mask)
        if entry_index is not None and (self.training or output_hidden_states or self.config.output_hidden_states):
            entry_embeds, entry_index = entry_embeds[entry_index.clamp(min=0)], None
        features = {}
        if entry_features is not None:
            require_features("entry_features", entry_features, entry_mask.shape, self.config.entry_feature_names)
            features["entry_features"] = entry_features
        hidden_states, router_logits = self.sequence_stack(entry_embeds, entry_mask, entry_index, **features)
        output = LogMoEModelOutput(last_hidden_state=hidden_states, entry_mask=entry_mask)
        if output_router_logits:
            for name, value in router_statistics(router_logits, entry_mask, self.config).items():
                output[name] = value
            output["router_logits"] = router_logits
        return output

    def _entry_embeddings(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        entry_index: torch.Tensor | None,
        entry_embeds: torch.Tensor | None,
        entry_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Checks the inputs of `forward` and brings its three forms down to two.

        Returns:
            Embeddings, `(distinct_entries, encoder_hidden)` with `entry_index` and `(sequences, entries,
            encoder_hidden)` without, and the bool `(sequences, entries)` of real entries.
        """
        if (input_ids is None) == (entry_embeds is None):
            given = "neither" if input_ids is None else "both"
            raise ValueError(f"Give exactly one of `input_ids` and `entry_embeds`, got {given}.")
        if entry_embeds is not None and attention_mask is not None:
            raise ValueError("`attention_mask` goes with `input_ids`, not with `entry_embeds`: use `entry_mask`.")
        if entry_mask is not None and (input_ids is not None or entry_index is not None):
            raise ValueError(
                "`entry_mask` goes with `entry_embeds` alone: `input_ids` mark padding by their `attention_mask`, "
                "`entry_index` marks it by -1."
            )
        if input_ids is not None and attention_mask is not None and attention_mask.shape != input_ids.shape:
            raise ValueError(
                f"`attention_mask` must have the shape of `input_ids`, {tuple(input_ids.shape)}, got "
                f"{tuple(attention_mask.shape)}."
            )
        if entry_index is not None:
            return self._distinct_embeddings(input_ids, attention_mask, entry_index, entry_embeds)
        if entry_embeds is not None:
            if entry_embeds.dim() != 3:
                raise ValueError(
                    "`entry_embeds` must be (sequences, entries, encoder_hidden), got shape "
                    f"{tuple(entry_embeds.shape)}."
                )
            if entry_mask is None:
                return entry_embeds, torch.ones(entry_embeds.shape[:2], dtype=torch.bool, device=entry_embeds.device)
            if entry_mask.shape != entry_embeds.shape[:2]:
                raise ValueError(
                    f"`entry_mask` must be (sequences, entries) = {tuple(entry_embeds.shape[:2])}, got "
                    f"{tuple(entry_mask.shape)}."
                )
            return entry_embeds, entry_mask.bool()

        assert input_ids is not None
        if input_ids.dim() != 3:
            raise ValueError(
                "Without `entry_index`, `input_ids` must be (sequences, entries, tokens), got shape "
                f"{tuple(input_ids.shape)}."
            )
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        entry_mask = attention_mask.bool().any(dim=-1)  # (sequences, entries)
        _require_entries(entry_mask)
        real_embeds = self.encode_entries(input_ids[entry_mask], attention_mask[entry_mask])
        entry_embeds = real_embeds.new_zeros(*entry_mask.shape, real_embeds.shape[-1])
        return entry_embeds.masked_scatter(entry_mask[..., None], real_embeds), entry_mask

    def _distinct_embeddings(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        entry_index: torch.Tensor,
        entry_embeds: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        name, entries = ("input_ids", input_ids) if entry_embeds is None else ("entry_embeds", entry_embeds)
        assert entries is not None
        if entries.dim() != 2 or entry_index.dim() != 2:
            inner = "tokens" if entry_embeds is None else "encoder_hidden"
            raise ValueError(
                f"With `entry_index` (sequences, entries), `{name}` must be (distinct_entries, {inner}); got shapes "
                f"{tuple(entry_index.shape)} and {tuple(entries.shape)}."
            )
        _require_entries(entry_index >= 0)
        lowest, highest = (int(bound) for bound in entry_index.aminmax())
        if lowest < -1 or highest >= len(entries):
            raise ValueError(
                f"`entry_index` must lie in [-1, {len(entries) - 1}] for {len(entries)} distinct entries, got values "
                f"from {lowest} to {highest}."
            )
        if entry_embeds is None:
            assert input_ids is not None
            entry_embeds = self.encode_entries(input_ids, attention_mask)
        return entry_embeds, entry_index >= 0


class LogMoEForSequenceClassification(LogMoEPreTrainedModel):
    """LogMoE with the head that says normal or anomaly."""

    def __init__(self, config: LogMoEConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = LogMoEModel(config)
        self.classification_head = LogMoEClassificationHead(config)
        self.sequence_terms = LogMoESequenceTerms(config) if config.sequence_feature_terms else None
        self.word_term: LogMoEWordTerm | None = None
        if config.word_term_bound:
            self.word_term = LogMoEWordTerm(config.encoder_config.vocab_size, config.word_term_bound)
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As [`PreTrainedModel.from_pretrained`]; what the terms say does not depend on how the weights were saved."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if model.sequence_terms is not None:
            model.sequence_terms.align()
        return loaded

    @classmethod
    def from_encoder_pretrained(
        cls, encoder_name_or_path: str, processor: Any | None = None, **config: Any
    ) -> "LogMoEForSequenceClassification":
        """Builds a new model on a pretrained encoder; everything above the encoder is freshly initialised.

        Args:
            encoder_name_or_path: folder or Hub name of any BERT-like encoder.
            processor: the [`LogMoEProcessor`] that will feed the model. Its placeholders are added to the encoder's
                embeddings, see `add_placeholders`.
            config: fields of [`LogMoEConfig`].

        Raises:
            ValueError: the encoder lacks weights, or the processor's tokenizer does not belong to it.
        """
        encoder = load_encoder(encoder_name_or_path)
        model = cls(LogMoEConfig(encoder_config=encoder.config, **config))
        model.replace_encoder(encoder)
        if processor is not None:
            model.add_placeholders(processor)
        return model

    def encode_entries(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """See [`LogMoEModel.encode_entries`]. With `config.word_term_bound` a last number is added: what the words of
        the entry speak for "anomaly", `(entries, encoder_hidden + 1)`.
        """
        embeds = self.model.encode_entries(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        return embeds if self.word_term is None else self.with_words(embeds, input_ids, attention_mask)

    def with_words(
        self, entry_embeds: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Embeddings `(entries, encoder_hidden)` from elsewhere as `encode_entries` gives them.

        Args:
            entry_embeds: of the encoder.
            input_ids: int64 `(entries, tokens)`.
            attention_mask: `(entries, tokens)`, 1 at real tokens; by default all are real.
        """
        assert self.word_term is not None
        words = self.word_term(input_ids, attention_mask)
        return torch.cat([entry_embeds, words[:, None].to(entry_embeds)], dim=-1)

    def replace_encoder(self, encoder: PreTrainedModel) -> None:
        """Replaces the encoder with another of the same width, and updates the config."""
        _drop_pooler(encoder)
        self.model.encoder = encoder
        self.config.encoder_config = encoder.config
        encoder.config._name_or_path = ""
        if self.word_term is not None:
            self.word_term.resize(encoder.config.vocab_size)

    @torch.no_grad()
    def add_placeholders(self, processor: Any) -> None:
        """Gives each placeholder that the processor added to the tokenizer an embedding: the mean of its phrase's word
        pieces, so that even a frozen encoder can read it. Call this before training.

        Args:
            processor: a [`LogMoEProcessor`] around the encoder's own tokenizer.

        Raises:
            ValueError: the tokenizer has more word pieces than the encoder has embeddings.
        """
        old_size = self.get_input_embeddings().weight.shape[0]
        new = processor.new_placeholder_token_ids()  # {token id: word-piece ids of its phrase}
        if len(processor.tokenizer) > old_size + len(new):
            raise ValueError(
                f"The tokenizer has {len(processor.tokenizer)} tokens, {len(new)} of them new placeholders, but the "
                f"encoder has {old_size} embeddings: they do not belong together. Use the encoder's own tokenizer."
            )
        if len(processor.tokenizer) > old_size:  # Some encoders have embeddings to spare.
            self.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
        weight = self.get_input_embeddings().weight
        for token_id, phrase_ids in new.items():
            weight[token_id] = weight[phrase_ids].mean(dim=0)

    def freeze_encoder(self) -> None:
        """Freezes the encoder, so that the embeddings of entries can be computed once."""
        self.model.encoder.requires_grad_(False)

    def set_routing_mode(self, routing_mode: str) -> None:
        """Switches between `"dense"` (phase 1 of training) and `"top_p"`; saved with the config.

        Raises:
            ValueError: `routing_mode` is neither.
        """
        if routing_mode not in ("dense", "top_p"):
            raise ValueError(f"`routing_mode` must be 'dense' or 'top_p', got {routing_mode!r}.")
        # All modules share this config object, and the routers read it at each call.
        setattr(self.config, "routing_mode", routing_mode)  # noqa: B010 - mypy wants a literal

    @torch.no_grad()
    def whiten_projection(self, entry_embeds: torch.Tensor) -> None:
        """Lets the projection of a new model begin by whitening embeddings: it takes their mean away and gives all
        directions in which they differ about the same variance, turned at random. Call this before training.

        What embeddings of log entries have in common is large, and what tells them apart small: from random weights,
        training spends its steps on that (Krähenbühl et al., "Data-dependent Initializations of Convolutional Neural
        Networks", ICLR 2016).

        Args:
            entry_embeds: `(entries, encoder_hidden)` of distinct training entries, from `model.encode_entries` of the
                model without a head.

        Raises:
            ValueError: shape or values do not fit.
        """
        projection = self.model.sequence_stack.projection
        expected = ("entries", projection.in_features)
        if entry_embeds.dim() != 2 or entry_embeds.shape[1] != expected[1] or len(entry_embeds) == 0:
            raise ValueError(f"`entry_embeds` must be {expected}, got shape {tuple(entry_embeds.shape)}.")
        if not bool(entry_embeds.isfinite().all()):
            raise ValueError("`entry_embeds` must be finite.")
        embeds = entry_embeds.double().cpu()
        mean = embeds.mean(dim=0)
        variance, directions = torch.linalg.eigh((embeds - mean).T @ (embeds - mean) / len(embeds))  # ascending
        if variance[-1] > 0:
            kept = min(projection.out_features, int((variance > SMALLEST_VARIANCE * variance[-1]).sum()))
            variance, directions = variance[-kept:], directions[:, -kept:]
            # Directions that hardly vary are mostly noise: they are stretched less.
            scale = (variance + SHRINKAGE * variance.mean()).rsqrt() * (projection.out_features / kept) ** 0.5
            turned = nn.init.orthogonal_(variance.new_empty(projection.out_features, kept))
            projection.weight.copy_((turned * scale) @ directions.T)
        projection.bias.copy_(-projection.weight.double().cpu() @ mean)

    @torch.no_grad()
    def set_feature_statistics(self, entry_features: Any = None, sequence_features: Any = None) -> None:
        """Sets what features are standardised and cut into pieces by: how they are distributed in training data.

        A feature that does not vary keeps its scale; values that are not finite do not count.

        Args:
            entry_features: array or tensor `(..., features)`, of real entries.
            sequence_features: array or tensor `(sequences, features)`.

        Raises:
            ValueError: the config names no features, or another number of them.
        """
        # All checks before the first change.
        if entry_features is not None:
            shape, names = entry_features.shape[:-1], self.config.entry_feature_names
            require_features("entry_features", entry_features, shape, names)
        if sequence_features is not None:
            shape, names = sequence_features.shape[:1], self.config.sequence_feature_names
            require_features("sequence_features", sequence_features, shape, names)
        if entry_features is not None:
            assert self.model.sequence_stack.entry_features is not None
            self.model.sequence_stack.entry_features.scaler.fit(torch.as_tensor(entry_features))
        if sequence_features is not None:
            assert self.sequence_terms is not None
            self.sequence_terms.fit(torch.as_tensor(sequence_features))

    @torch.no_grad()
    def feature_shares(self, sequence_features: Any, baseline: Any, per_term: bool = False) -> torch.Tensor:
        """What each feature of a sequence contributes to its terms, against a baseline: integrated gradients along the
        straight line between them, in features as the terms read them (Sundararajan et al., "Axiomatic Attribution
        for Deep Networks", ICML 2017).

        Args:
            sequence_features: array or tensor `(sequences, features)`, as in `forward`.
            baseline: array or tensor `(features,)`, such as a healthy median sequence; a NaN counts as the mean.
            per_term: keep the terms apart.

        Returns:
            float32 `(sequences, features)`, or `(sequences, terms, features)` with `per_term`. A sequence's shares,
            those of a term likewise, add up to its term margins less those of the baseline; a sequence without
            features, whose margins are 0 by definition, has shares of 0.

        Raises:
            ValueError: shapes do not fit the config, or the baseline has no value.
        """
        names = self.config.sequence_feature_names
        require_features("sequence_features", sequence_features, sequence_features.shape[:1], names)
        require_features("baseline", baseline, (), names)
        features = torch.as_tensor(sequence_features, dtype=torch.float32, device=self.device)
        baseline = torch.as_tensor(baseline, dtype=torch.float32, device=self.device)
        if bool(baseline.isnan().all()):
            raise ValueError("`baseline` must have a value for at least one feature, got NaN for all.")
        assert self.sequence_terms is not None
        shares = self.sequence_terms.shares(features, baseline)  # (sequences, terms, features)
        return shares if per_term else shares.sum(dim=1)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        entry_index: torch.Tensor | None = None,
        entry_embeds: torch.Tensor | None = None,
        entry_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_router_logits: bool | None = None,
        return_dict: bool | None = None,
        entry_features: torch.Tensor | None = None,
        sequence_features: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> LogMoESequenceClassifierOutput | tuple:
        """As [`LogMoEModel.forward`]; `entry_embeds` are those of this model's `encode_entries`. Plus:

        Args:
            labels: int64 `(sequences,)`, 0 normal, 1 anomaly.
            sequence_features: `(sequences, features)`, how each sequence departs from a reference, before
                standardising, in the order of `config.sequence_feature_names`; NaN where a feature is not available.
                By default, and for sequences whose features are all NaN, the terms add 0.

        Raises:
            ValueError: as [`LogMoEModel.forward`].
        """
        words = None
        if self.word_term is not None and entry_embeds is not None:
            entry_embeds, words = self._without_words(entry_embeds)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            entry_index=entry_index,
            entry_embeds=entry_embeds,
            entry_mask=entry_mask,
            output_router_logits=output_router_logits or labels is not None,
            return_dict=True,
            entry_features=entry_features,
            **kwargs,
        )
        logits, shares = self.classification_head(outputs.last_hidden_state, outputs.entry_mask)
        # In training words add nothing: the stack learns as if it were alone.
        if self.word_term is not None and not self.training:
            if words is None:
                assert input_ids is not None
                words = self.word_term(input_ids, attention_mask)
            if entry_index is not None:
                words = words[entry_index.clamp(min=0)]
            of_words = self.word_term.shares(words, outputs.entry_mask) / 2
            of_words = torch.stack([-of_words, of_words], dim=-1)
            logits, shares = logits + of_words.sum(dim=1), shares + of_words
        if sequence_features is not None:
            names = self.config.sequence_feature_names
            require_features("sequence_features", sequence_features, logits.shape[:1], names)
        term_margins = None
        if self.sequence_terms is not None:
            if sequence_features is None:
                sequence_features = logits.new_full((len(logits), len(self.config.sequence_feature_names)), torch.nan)
            term_margins = self.sequence_terms(sequence_features)  # (sequences, terms)
            half = term_margins.sum(dim=-1) / 2
            logits = logits + torch.stack([-half, half], dim=-1)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits, labels) + weighted_router_loss(outputs, self.config)
        output = LogMoESequenceClassifierOutput(
            loss=loss,
            logits=logits,
            entry_scores=shares[..., 1] - shares[..., 0],
            load_balance_loss=outputs.load_balance_loss,
            router_entropy_loss=outputs.router_entropy_loss,
            router_z_loss=outputs.router_z_loss,
            expert_load=outputs.expert_load,
            mean_active_experts=outputs.mean_active_experts,
            router_logits=outputs.router_logits if output_router_logits else None,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            term_margins=term_margins,
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _without_words(self, entry_embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The encoder's part of what `encode_entries` gave; and what words add, float32 `(entries,)` or as given."""
        width = self.config.encoder_config.hidden_size
        if entry_embeds.shape[-1] != width + 1:
            raise ValueError(
                f"`entry_embeds` must have {width + 1} numbers for each entry, as this model's `encode_entries` gives "
                f"them: {width} of the encoder, and one of what words add; got {entry_embeds.shape[-1]}."
            )
        return entry_embeds[..., :width], entry_embeds[..., width].float()


def load_encoder(name_or_path: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Loads a pretrained text encoder, if its weights are safetensors: other formats can run code.

    Raises:
        ValueError: weights are missing, other than those of the pooler, which is not used; or are in another format.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # no report on the pooler, which is not used
    try:
        encoder, info = AutoModel.from_pretrained(
            name_or_path, dtype=dtype, output_loading_info=True, trust_remote_code=False, use_safetensors=True
        )
    except OSError as error:
        if "safetensors" not in str(error):
            raise
        raise ValueError(
            f"the encoder {name_or_path!r} has no safetensors weights; others can run code and are not read. If "
            "you know who made it, convert it: `import transformers; transformers.AutoModel.from_pretrained("
            f"{name_or_path!r}, use_safetensors=False).save_pretrained(…)`, and its tokenizer likewise. ({error})"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ValueError(
            f"incomplete encoder {name_or_path!r}: {len(missing)} weights are missing ({', '.join(missing[:3])}…)"
        )
    return encoder


def _require_entries(entry_mask: torch.Tensor) -> None:
    """Refuses sequences without entries, which have nothing to pool; `entry_mask` is bool `(sequences, entries)`."""
    if entry_mask.numel() == 0 or not bool(entry_mask.any(dim=1).all()):
        empty = (~entry_mask.any(dim=1)).nonzero().squeeze(-1).tolist()
        problem = f"these have none: {empty}" if empty else "the batch has no sequences"
        raise ValueError(f"Every sequence needs at least one entry; {problem}.")


def _refuse_unknown_arguments(kwargs: dict[str, Any]) -> None:
    """Refuses misspelt arguments. Those that are None pass: wrappers such as PEFT hand on the ones of other models."""
    unknown = sorted(name for name, value in kwargs.items() if value is not None)
    if unknown:
        raise TypeError(f"LogMoE's forward does not take {', '.join(map(repr, unknown))}.")


def _drop_pooler(encoder: PreTrainedModel) -> None:
    """Removes the encoder's pooler: it is not used, and DDP fails on parameters that take no part in the loss."""
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None


# The one import against the order of the files. A saved model takes along every file that this one reaches, so the
# checkpoint is complete; and importing the pipeline registers its task, so `pipeline("log-anomaly", model=…)` works
# where this file came with a checkpoint. At the foot because the pipeline builds on everything above.
from .pipeline_logmoe import LogAnomalyPipeline  # noqa: E402, F401

LogMoEModel.register_for_auto_class("AutoModel")
LogMoEForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = [
    "LogMoEForSequenceClassification",
    "LogMoEModel",
    "LogMoEModelOutput",
    "LogMoEPreTrainedModel",
    "LogMoESequenceClassifierOutput",
    "load_encoder",
]
