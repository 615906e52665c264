"""The configuration of LogMoE: every number and rule of the model that a checkpoint needs."""

import copy
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

# Written into every saved config.json: where the Auto classes and `pipeline()` find the code that travels with the
# weights. The keys are the Hub's, the values "file.Class".
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


@strict
class LogMoEConfig(PreTrainedConfig):
    r"""Configuration of [`LogMoEModel`]. The defaults are a bert-base-uncased-shaped encoder under a 6-layer stack.

    Args:
        encoder_config (`PreTrainedConfig` or `dict`, *optional*, defaults to a `BertConfig`):
            Shape of the text encoder that reads each log entry: any BERT-like encoder that `AutoModel` knows.
        entry_pooling (`str`, *optional*, defaults to `"mean"`):
            How the encoder's token states become one entry embedding: `"mean"` over the real tokens, or `"cls"`,
            the first token's state.
        hidden_size (`int`, *optional*, defaults to 512):
            Width of the sequence stack.
        num_hidden_layers (`int`, *optional*, defaults to 6):
            Layers of the sequence stack.
        num_attention_heads (`int`, *optional*, defaults to 8):
            Attention heads of each layer; must divide `hidden_size`.
        num_experts (`int`, *optional*, defaults to 4):
            Experts of each layer's mixture.
        moe_intermediate_size (`int`, *optional*, defaults to 256):
            Inner width of each expert.
        hidden_act (`str`, *optional*, defaults to `"gelu"`):
            Activation inside the experts.
        router_top_p (`float`, *optional*, defaults to 0.8):
            Probability mass that the kept experts of an entry must reach, in (0, 1]. 1 keeps every expert.
        routing_mode (`str`, *optional*, defaults to `"top_p"`):
            `"top_p"`, or `"dense"` for the first phase of training: every expert with weight 1 / `num_experts`.
        max_log_entry_length (`int`, *optional*, defaults to 128):
            Longest log entry, in tokens.
        max_sequence_length (`int`, *optional*, defaults to 32):
            Longest sequence, in entries.
        hidden_dropout_prob (`float`, *optional*, defaults to 0.1):
            Dropout after the input projection, the attention and the experts.
        attention_probs_dropout_prob (`float`, *optional*, defaults to 0.1):
            Dropout of the attention weights.
        layer_norm_eps (`float`, *optional*, defaults to 1e-5):
            Epsilon of the layer norms.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the initial weights.
        load_balance_loss_coef (`float`, *optional*, defaults to 0.01):
            Weight of the load-balancing loss in the training loss.
        router_entropy_loss_coef (`float`, *optional*, defaults to 1e-4):
            Weight of the router-entropy loss (the dynamic loss of Huang et al., ACL 2024).
        router_z_loss_coef (`float`, *optional*, defaults to 1e-3):
            Weight of the router z-loss (Zoph et al., 2022).
        anomaly_threshold (`float`, *optional*, defaults to 0.5):
            Smallest probability of "anomaly" that gives the label "anomaly", in (0, 1). Fitted on validation data.
        calibration_temperature (`float`, *optional*, defaults to 1.0):
            The logits are divided by it before the softmax. Fitted on validation data.
    """

    model_type = "logmoe"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")}
    # The Trainer gathers every output that is not listed here: only logits may reach the metrics.
    keys_to_ignore_at_inference = [
        "entry_scores",
        "load_balance_loss",
        "router_entropy_loss",
        "router_z_loss",
        "expert_load",
        "mean_active_experts",
        "router_logits",
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
    initializer_range: float = 0.02
    load_balance_loss_coef: float | int = 0.01
    router_entropy_loss_coef: float | int = 1e-4
    router_z_loss_coef: float | int = 1e-3
    anomaly_threshold: float = 0.5
    calibration_temperature: float | int = 1.0

    def __post_init__(self, **kwargs):
        # Saved configs carry both; to_dict writes them afresh.
        auto_map = kwargs.pop("auto_map", AUTO_MAP)
        custom_pipelines = kwargs.pop("custom_pipelines", CUSTOM_PIPELINES)
        if getattr(self, "id2label", None) is None:
            self.id2label = {0: "normal", 1: "anomaly"}
            self.label2id = {"normal": 0, "anomaly": 1}
        # A copy: the caller's encoder keeps its own config, and the folder it came from, which means nothing to
        # whoever loads the checkpoint, stays out of ours.
        self.encoder_config = copy.deepcopy(self.encoder_config)
        super().__post_init__(**kwargs)
        self.encoder_config._name_or_path = ""
        # `pipeline()` asks for trust_remote_code wherever they are set, so they must be absent from the installed
        # package's class, whose code needs no trust, and present where this file came with a checkpoint.
        if not __name__.startswith("logmoe."):
            self.auto_map = copy.deepcopy(auto_map)
            self.custom_pipelines = copy.deepcopy(custom_pipelines)

    def validate_logmoe(self):
        """Part of `@strict` validation: each rule names the value it was given.

        Raises:
            ValueError: wrapped by `@strict` in a `StrictDataclassClassValidationError`.
        """
        for name in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_experts",
            "moe_intermediate_size",
            "max_log_entry_length",
            "max_sequence_length",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
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
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), got {getattr(self, name)}.")
        for name in ("load_balance_loss_coef", "router_entropy_loss_coef", "router_z_loss_coef"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be zero or positive, got {getattr(self, name)}.")
        if not 0 < self.anomaly_threshold < 1:
            raise ValueError(f"`anomaly_threshold` must be in (0, 1), got {self.anomaly_threshold}.")
        if not 0 < self.calibration_temperature < float("inf"):
            raise ValueError(f"`calibration_temperature` must be positive, got {self.calibration_temperature}.")
        if self.id2label != {0: "normal", 1: "anomaly"}:
            raise ValueError(f"`id2label` must be {{0: 'normal', 1: 'anomaly'}}, got {self.id2label}.")

    def to_dict(self) -> dict[str, Any]:
        """As the base class's, with the entries by which the Auto classes and `pipeline()` find the code."""
        output = super().to_dict()
        # Copies: `pipeline()` replaces the class names of the dict it is given, in place.
        output["auto_map"] = copy.deepcopy(AUTO_MAP)
        output["custom_pipelines"] = copy.deepcopy(CUSTOM_PIPELINES)
        return output


LogMoEConfig.register_for_auto_class()

__all__ = ["LogMoEConfig"]
