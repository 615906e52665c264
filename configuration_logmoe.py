"""The configuration of LogMoE: every number and choice that a checkpoint needs to rebuild the model."""

import copy
from dataclasses import field
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.configuration_utils import SubConfigSpec

# Written into every saved config.json: where the Auto classes and `pipeline()` find the code that travels with the
# weights. The Hub defines the keys; the values are "file.Class".
AUTO_MAP = {
    "AutoConfig": "configuration_logmoe.LogMoEConfig",
    "AutoModel": "modeling_logmoe.LogMoEModel",
    "AutoModelForSequenceClassification": "modeling_logmoe.LogMoEForSequenceClassification",
    "AutoProcessor": "processing_logmoe.LogMoEProcessor",
}
CUSTOM_PIPELINES = {
    "log-anomaly": {
        "impl": "pipeline_logmoe.LogAnomalyPipeline",
        "pt": ["AutoModelForSequenceClassification"],
        "type": "text",
    }
}

# What a checkpoint that somebody else made may ask for: wide of every real model, but no room for one that would take
# all memory, or give numbers that are none.
MAX_SEQUENCE_LENGTH, MAX_LOG_ENTRY_LENGTH = 1 << 14, 1 << 16
MAX_WIDTH, MAX_LAYERS, MAX_FEATURES = 1 << 16, 1024, 10_000
INTEGERS = {
    "hidden_size": MAX_WIDTH,
    "num_hidden_layers": MAX_LAYERS,
    "num_attention_heads": 4096,
    "num_experts": 4096,
    "moe_intermediate_size": MAX_WIDTH,
    "max_log_entry_length": MAX_LOG_ENTRY_LENGTH,
    "max_sequence_length": MAX_SEQUENCE_LENGTH,
    "feature_hidden_size": MAX_WIDTH,
}
NUMBERS = {
    "layer_norm_eps": (1e-12, 1.0),
    "initializer_range": (1e-6, 10.0),
    "load_balance_loss_coef": (0.0, 1e6),
    "router_entropy_loss_coef": (0.0, 1e6),
    "router_z_loss_coef": (0.0, 1e6),
    "calibration_temperature": (1e-3, 1e9),
    "untrained_weight": (0.0, 1.0),
    "reference_slope": (1e-3, 1e3),
    "feature_clip": (1e-3, 1e6),
    "word_term_bound": (0.0, 1e3),
}
# Of the encoder, beside its numbers of layers.
MAX_ENCODER_INTEGER = 1 << 24
# More pieces of a feature's range than that are noise.
MOST_FEATURE_PIECES = 64


@strict
class LogMoEConfig(PreTrainedConfig):
    """Configuration of [`LogMoEModel`].

    The defaults, written once with the fields below, are a bert-base-uncased-shaped encoder under a 6-layer stack.

    Attributes:
        encoder_config: shape of the text encoder that reads each log entry, a config or a dict: any BERT-like encoder
            that `AutoModel` knows. By default a `BertConfig`.
        entry_pooling: how the encoder's token states become one entry embedding: `"mean"` over the real tokens, or
            `"cls"`, the state of the first token.
        hidden_size: width of the sequence stack.
        num_hidden_layers: layers of the sequence stack.
        num_attention_heads: attention heads per layer; must divide `hidden_size`.
        num_experts: experts per layer.
        moe_intermediate_size: inner width of each expert.
        hidden_act: activation inside the experts.
        router_top_p: probability mass that the kept experts of an entry must reach, in (0, 1]; 1 keeps every expert.
        routing_mode: `"top_p"`, or `"dense"` for the first phase of training: every expert with weight
            1 / `num_experts`.
        max_log_entry_length: tokens per log entry, at most.
        max_sequence_length: entries per sequence, at most.
        hidden_dropout_prob: dropout after the input projection, the attention and the experts.
        attention_probs_dropout_prob: dropout on the attention weights.
        layer_norm_eps: epsilon of the layer norms.
        initializer_range: standard deviation of the initial weights above the encoder; by default 1/√inputs of each
            linear layer (LeCun et al., "Efficient BackProp", 1998), and 0.02 of embeddings and routers.
        load_balance_loss_coef: weight of the load-balancing loss in the training loss.
        router_entropy_loss_coef: weight of the router entropy loss (the dynamic loss of Huang et al., ACL 2024).
        router_z_loss_coef: weight of the router z-loss (Zoph et al., "ST-MoE", 2022).
        anomaly_threshold: smallest probability of "anomaly" that is labelled an anomaly, in (0, 1); fitted on
            validation data.
        calibration_temperature: divides the logits before the softmax; fitted on validation data.
        calibration_mode: what threshold and temperature were fitted on: `"none"`, sequences read by their wording, or
            `"reference"`, sequences seen through the reference that is stored with the checkpoint.
        entry_feature_names: the features of each entry that the stack reads beside its embedding, in the order of
            `entry_features`' last dimension; none by default.
        sequence_feature_names: the features of each sequence that the terms read, in the order of
            `sequence_features`' last dimension; none by default.
        sequence_feature_terms: the terms that add to the logits outside the stack: the name of each, and which of
            `sequence_feature_names` it reads. Kept in alphabetical order, the order of `term_margins`.
        feature_hidden_size: width of each term's hidden layer.
        feature_dropout_prob: dropout on a term's features and on its hidden layer.
        feature_clip: standardised features are clipped to ± this.
        feature_pieces: into which each feature's range is cut, with equally many values of training data in each; a
            term reads how far a value fills each piece, beside the standardised value. 0 for that value alone.
        untrained_weight: in [0, 1], how much the untrained sum of ranks counts beside the learned margin when a
            sequence is judged against a reference.
        reference_scale: center and spread of the learned margin over sequences of healthy logs, for logs that have no
            healthy sequences of their own: the median, and from there to the 99th percentile.
        reference_slope: logits of "anomaly" for each spread by which a sequence exceeds that percentile.
        embedding_dropout_prob: share of the sequences with a reference whose embeddings are hidden in training, all of
            a sequence's at once, so that the model learns to do with features alone.
        word_term_bound: beside the stack stands what the word pieces of the entries speak for "anomaly", each for
            itself: the wide part beside a deep one (Cheng et al., "Wide & Deep Learning for Recommender Systems",
            2016). It moves the margin by less than this, in logit units, so that words of faults that are known do
            not drown new ones; 0 leaves it out. For models that read text alone.

    Raises:
        StrictDataclassError: a value has the wrong type or is out of range; the message names the field.
    """

    model_type = "logmoe"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")}
    # The Trainer gathers every output that is not listed here, and only the logits may reach the metrics.
    keys_to_ignore_at_inference = [
        "entry_scores",
        "load_balance_loss",
        "router_entropy_loss",
        "router_z_loss",
        "expert_load",
        "mean_active_experts",
        "router_logits",
        "term_margins",
        "hidden_states",
        "attentions",
    ]

    encoder_config: Any = None
    entry_pooling: Literal["mean", "cls"] = "mean"
    hidden_size: int = 512
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_experts: int = 4
    moe_intermediate_size: int = 256
    hidden_act: str = "gelu"
    router_top_p: float | int = 0.8
    routing_mode: Literal["dense", "top_p"] = "top_p"
    max_log_entry_length: int = 128
    max_sequence_length: int = 32
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    layer_norm_eps: float = 1e-5
    initializer_range: float | None = None
    load_balance_loss_coef: float | int = 0.01
    router_entropy_loss_coef: float | int = 1e-4
    router_z_loss_coef: float | int = 1e-3
    anomaly_threshold: float = 0.5
    calibration_temperature: float | int = 1.0
    calibration_mode: Literal["none", "reference"] = "none"
    entry_feature_names: list[str] = field(default_factory=list)
    sequence_feature_names: list[str] = field(default_factory=list)
    sequence_feature_terms: dict[str, list[str]] = field(default_factory=dict)
    feature_hidden_size: int = 64
    feature_dropout_prob: float | int = 0.3
    feature_clip: float | int = 6.0
    feature_pieces: int = 0
    untrained_weight: float | int = 0.3
    reference_scale: list[float] = field(default_factory=lambda: [0.0, 1.0])
    reference_slope: float | int = 2.0
    embedding_dropout_prob: float | int = 0.0
    word_term_bound: float | int = 0.0

    def __post_init__(self, **kwargs):
        # Saved configs have both; `to_dict` writes them anew.
        auto_map = kwargs.pop("auto_map", AUTO_MAP)
        custom_pipelines = kwargs.pop("custom_pipelines", CUSTOM_PIPELINES)
        if getattr(self, "id2label", None) is None:
            self.id2label = {0: "normal", 1: "anomaly"}
            self.label2id = {"normal": 0, "anomaly": 1}
        # config.json is saved with sorted keys: a term must have the same place before and after.
        self.sequence_feature_terms = dict(sorted(self.sequence_feature_terms.items()))
        # A copy: the caller's encoder keeps its own config, and our checkpoint must not name the folder it came from,
        # which means nothing to whoever loads it.
        self.encoder_config = copy.deepcopy(self.encoder_config)
        super().__post_init__(**kwargs)
        self.encoder_config._name_or_path = ""
        # Where these are set, `pipeline()` asks for trust_remote_code. So they are set only where this file came with
        # a checkpoint; the code of the installed package needs no trust.
        if not __name__.startswith("logmoe."):
            self.auto_map = copy.deepcopy(auto_map)
            self.custom_pipelines = copy.deepcopy(custom_pipelines)

    def validate_logmoe(self):
        """Runs as part of `@strict` validation; each message names the field, the rule and the value given.

        Raises:
            ValueError: a value breaks a rule; `@strict` wraps it in a `StrictDataclassClassValidationError`.
        """
        for name, highest in INTEGERS.items():
            if not 1 <= getattr(self, name) <= highest:
                raise ValueError(f"`{name}` must be from 1 to {highest}, got {getattr(self, name)}.")
        for name, (lowest, most) in NUMBERS.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= most:
                raise ValueError(f"`{name}` must be in [{lowest:g}, {most:g}], got {value}.")
        if self.hidden_act not in ACT2FN:
            raise ValueError(f"`hidden_act` must be an activation that transformers knows, got {self.hidden_act!r}.")
        self._validate_encoder()
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`hidden_size` ({self.hidden_size}) must be a multiple of `num_attention_heads` "
                f"({self.num_attention_heads})."
            )
        encoder_positions = getattr(self.encoder_config, "max_position_embeddings", None)
        if encoder_positions is not None and self.max_log_entry_length > encoder_positions:
            raise ValueError(
                f"`max_log_entry_length` ({self.max_log_entry_length}) must not exceed the encoder's "
                f"`max_position_embeddings` ({encoder_positions})."
            )
        if not 0 < self.router_top_p <= 1:
            raise ValueError(f"`router_top_p` must be in (0, 1], got {self.router_top_p}.")
        for name in (
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "feature_dropout_prob",
            "embedding_dropout_prob",
        ):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), got {getattr(self, name)}.")
        if not 0 < self.anomaly_threshold < 1:
            raise ValueError(f"`anomaly_threshold` must be in (0, 1), got {self.anomaly_threshold}.")
        scale = self.reference_scale
        if len(scale) != 2 or not -1e9 <= scale[0] <= 1e9 or not 1e-6 <= scale[1] <= 1e9:
            raise ValueError(
                f"`reference_scale` must be a center in [-1e9, 1e9] and a positive spread in [1e-6, 1e9], got {scale}."
            )
        if not 0 <= self.feature_pieces <= MOST_FEATURE_PIECES:
            raise ValueError(f"`feature_pieces` must be in [0, {MOST_FEATURE_PIECES}], got {self.feature_pieces}.")
        if self.calibration_mode == "reference" and not (self.entry_feature_names and self.sequence_feature_names):
            raise ValueError(
                "`calibration_mode` 'reference' needs `entry_feature_names` and `sequence_feature_names`: without "
                "them the model cannot see sequences through a reference."
            )
        if self.embedding_dropout_prob and not self.entry_feature_names:
            raise ValueError(
                f"`embedding_dropout_prob` ({self.embedding_dropout_prob}) needs `entry_feature_names`: without the "
                "embeddings nothing else would be left to read."
            )
        if self.word_term_bound and (self.entry_feature_names or self.sequence_feature_names):
            raise ValueError(
                f"`word_term_bound` ({self.word_term_bound}) is for models that read text alone: leave out "
                "`entry_feature_names` and `sequence_feature_names`, or set it to 0."
            )
        self._validate_features()
        if self.id2label != {0: "normal", 1: "anomaly"}:
            raise ValueError(f"`id2label` must be {{0: 'normal', 1: 'anomaly'}}, got {self.id2label}.")

    def _validate_encoder(self) -> None:
        encoder = self.encoder_config
        for name in ("hidden_size", "vocab_size"):
            if not isinstance(getattr(encoder, name, None), int):
                raise ValueError(
                    f"`encoder_config` must be of an encoder of text, with `{name}`; {encoder.model_type!r} has none."
                )
        for name in ("hidden_act", "hidden_activation", "activation"):  # as families of encoders call it
            value = getattr(encoder, name, None)
            if isinstance(value, str) and value not in ACT2FN:
                raise ValueError(
                    f"`encoder_config.{name}` must be an activation that transformers knows, got {value!r}."
                )
        for name, value in encoder.to_dict().items():
            highest = MAX_LAYERS if name.endswith(("layers", "_layer")) else MAX_ENCODER_INTEGER
            if isinstance(value, int) and abs(value) > highest:
                raise ValueError(f"`encoder_config.{name}` must be at most {highest}, got {value}.")

    def _validate_features(self) -> None:
        lists = {
            "entry_feature_names": self.entry_feature_names,
            "sequence_feature_names": self.sequence_feature_names,
        }
        lists |= {f"sequence_feature_terms[{term!r}]": names for term, names in self.sequence_feature_terms.items()}
        for place, names in lists.items():
            if len(names) > MAX_FEATURES:
                raise ValueError(f"`{place}` names {len(names)} features, more than {MAX_FEATURES}.")
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(
                    f"`{place}` must not name a feature twice, got {', '.join(map(repr, repeated))} again."
                )
        known = set(self.sequence_feature_names)
        for term, names in self.sequence_feature_terms.items():
            # A term's name becomes part of its weights' names.
            if not term.isidentifier() or hasattr(nn.ModuleDict(), term):
                raise ValueError(
                    f"`sequence_feature_terms` must be named by identifiers that torch's ModuleDict does not use, got "
                    f"{term!r}."
                )
            if not names:
                raise ValueError(f"`sequence_feature_terms[{term!r}]` must name at least one feature, got [].")
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ValueError(
                    f"`sequence_feature_terms[{term!r}]` must name features of `sequence_feature_names`, got "
                    f"{', '.join(map(repr, unknown))}."
                )
        used = {name for names in self.sequence_feature_terms.values() for name in names}
        unused = [name for name in self.sequence_feature_names if name not in used]
        if unused:
            raise ValueError(
                "Every one of `sequence_feature_names` must belong to a term of `sequence_feature_terms`; these "
                f"belong to none: {', '.join(map(repr, unused))}."
            )

    def to_dict(self) -> dict[str, Any]:
        """As in the base class, plus the entries by which the Auto classes and `pipeline()` find the code."""
        output = super().to_dict()
        # Copies, because `pipeline()` replaces the class names in place.
        output["auto_map"] = copy.deepcopy(AUTO_MAP)
        output["custom_pipelines"] = copy.deepcopy(CUSTOM_PIPELINES)
        return output


LogMoEConfig.register_for_auto_class()

__all__ = ["LogMoEConfig"]
