"""The configuration: defaults, checks, and what config.json holds."""

import json

import pytest
from conftest import tiny_config, tiny_encoder_config
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from logmoe import LogMoEConfig, LogMoEForSequenceClassification


def test_defaults_are_those_of_the_original_guide():
    config = LogMoEConfig()
    assert config.encoder_config.model_type == "bert"
    assert (config.encoder_config.hidden_size, config.encoder_config.num_hidden_layers) == (768, 12)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (512, 6, 8)
    assert (config.num_experts, config.moe_intermediate_size, config.router_top_p) == (4, 256, 0.8)
    assert (config.max_log_entry_length, config.max_sequence_length) == (128, 32)
    assert config.id2label == {0: "normal", 1: "anomaly"}
    assert config.routing_mode == "top_p"


def test_default_model_is_about_500_megabytes():
    import torch

    with torch.device("meta"):
        model = LogMoEForSequenceClassification(LogMoEConfig())
    assert 475e6 < 4 * model.num_parameters() < 525e6


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("router_top_p", 0.0, r"\(0, 1\], got 0.0"),
        ("router_top_p", 1.01, r"\(0, 1\], got 1.01"),
        ("router_top_p", float("nan"), r"\(0, 1\], got nan"),
        ("num_attention_heads", 5, r"`hidden_size` \(32\) must be a multiple of `num_attention_heads` \(5\)"),
        ("num_experts", 0, "from 1 to [0-9]+, got 0"),
        ("num_hidden_layers", 0, "from 1 to [0-9]+, got 0"),
        ("moe_intermediate_size", -3, "from 1 to 65536, got -3"),
        ("max_sequence_length", 0, "from 1 to [0-9]+, got 0"),
        ("max_log_entry_length", 0, "from 1 to [0-9]+, got 0"),
        ("max_log_entry_length", 65, r"\(65\) must not exceed the encoder's `max_position_embeddings` \(64\)"),
        ("hidden_dropout_prob", 1.0, r"\[0, 1\), got 1.0"),
        ("load_balance_loss_coef", -1.0, r"`load_balance_loss_coef` must be in \[0, 1e\+06\], got -1.0"),
        ("anomaly_threshold", 1.0, r"\(0, 1\), got 1.0"),
        ("calibration_temperature", 0.0, r"`calibration_temperature` must be in \[0.001, 1e\+09\], got 0.0"),
        ("calibration_temperature", 1e-320, "`calibration_temperature` must be in .* got 1e-320"),
        ("calibration_temperature", float("nan"), "`calibration_temperature` must be in .* got nan"),
        ("reference_scale", [float("nan"), 1.0], "`reference_scale` .* got .nan"),
        ("reference_scale", [0.0, 1e-320], "`reference_scale` .* got .0.0, 1e-320"),
        ("reference_slope", float("inf"), "`reference_slope` must be in .* got inf"),
        ("layer_norm_eps", 0.0, "`layer_norm_eps` must be in .* got 0.0"),
        ("num_hidden_layers", 10**9, "`num_hidden_layers` must be from 1 to 1024, got 1000000000"),
        ("hidden_size", 2**40, "`hidden_size` must be from 1 to 65536, got 1099511627776"),
        ("max_sequence_length", 10**9, "`max_sequence_length` must be from 1 to 16384"),
        ("entry_feature_names", [f"f{n}" for n in range(10_001)], "`entry_feature_names` names 10001 features"),
        ("hidden_act", "eval", "`hidden_act` must be an activation that transformers knows, got 'eval'"),
        ("encoder_config", {"model_type": "bert", "num_hidden_layers": 10**9}, "`encoder_config.num_hidden_layers`"),
        ("encoder_config", {"model_type": "bert", "vocab_size": 2**40}, "`encoder_config.vocab_size` must be at most"),
        ("encoder_config", {"model_type": "clip"}, "`encoder_config` must be of an encoder of text.*'clip'"),
        ("routing_mode", "sparse", "'dense', 'top_p'"),
        ("entry_pooling", "max", "'mean', 'cls'"),
        ("hidden_size", "wide", "expected int, got str"),
        ("id2label", {0: "anomaly", 1: "normal"}, "must be {0: 'normal', 1: 'anomaly'}"),
    ],
)
def test_bad_values_are_refused_and_the_message_names_rule_and_value(field, value, rule):
    with pytest.raises(StrictDataclassError, match=rule):
        tiny_config(**{field: value})


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        (
            {"entry_feature_names": ["new", "rare", "new"]},
            "`entry_feature_names` must not .* twice.*'new'",
        ),
        ({"entry_feature_names": "new"}, "entry_feature_names"),
        ({"sequence_feature_names": ["new"]}, "belong to none: 'new'"),
        ({"sequence_feature_terms": {"surprise": ["new"]}}, r"\['surprise'\]` must name features of .* got 'new'"),
        ({"sequence_feature_terms": {"surprise": []}}, r"\['surprise'\]` must name at least one feature"),
        ({"sequence_feature_terms": ["surprise"]}, "sequence_feature_terms"),
        (
            {"sequence_feature_names": ["new"], "sequence_feature_terms": {"surprise": ["new", "new"]}},
            r"\['surprise'\]` must not name a feature twice",
        ),
        ({"sequence_feature_names": ["new"], "sequence_feature_terms": {"no.2": ["new"]}}, "identifiers.*'no.2'"),
        ({"sequence_feature_names": ["new"], "sequence_feature_terms": {"keys": ["new"]}}, "identifiers.*'keys'"),
        ({"feature_hidden_size": 0}, "`feature_hidden_size` must be from 1 to 65536, got 0"),
        ({"feature_dropout_prob": 1.0}, r"`feature_dropout_prob` must be in \[0, 1\), got 1.0"),
        ({"feature_clip": 0.0}, r"`feature_clip` must be in \[0.001, 1e\+06\], got 0.0"),
        ({"feature_clip": float("inf")}, "`feature_clip` must be in .* got inf"),
        ({"embedding_dropout_prob": -0.1, "entry_feature_names": ["new"]}, r"`embedding_dropout_prob` .* got -0.1"),
        ({"embedding_dropout_prob": 0.5}, r"`embedding_dropout_prob` \(0.5\) needs `entry_feature_names`"),
    ],
)
def test_bad_features_are_refused_and_the_message_names_rule_and_value(fields, rule):
    with pytest.raises(StrictDataclassError, match=rule):
        tiny_config(**fields)


def test_terms_keep_their_places_in_a_saved_config(tmp_path):
    names = ["new", "overdue", "rare"]
    terms = {"surprise": ["rare", "new"], "silence": ["overdue", "new"]}
    config = tiny_config(sequence_feature_names=names, sequence_feature_terms=terms)
    config.save_pretrained(tmp_path)
    loaded = LogMoEConfig.from_pretrained(tmp_path)
    assert list(loaded.sequence_feature_terms) == list(config.sequence_feature_terms) == ["silence", "surprise"]
    assert loaded.sequence_feature_terms == terms
    assert tiny_config().entry_feature_names is not tiny_config().entry_feature_names


def test_round_trip_through_json(tmp_path):
    config = tiny_config(router_top_p=0.6, routing_mode="dense", anomaly_threshold=0.3)
    config.save_pretrained(tmp_path)
    loaded = LogMoEConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert loaded.encoder_config.hidden_size == 32
    assert AutoConfig.from_pretrained(tmp_path).router_top_p == 0.6


def test_saved_config_names_the_code_but_no_local_path(tmp_path):
    encoder_config = tiny_encoder_config()
    encoder_config._name_or_path = "/home/somebody/bert"
    tiny_config(encoder_config=encoder_config).save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    saved = json.loads(text)
    assert saved["auto_map"]["AutoModel"] == "modeling_logmoe.LogMoEModel"
    assert saved["custom_pipelines"]["log-anomaly"]["impl"] == "pipeline_logmoe.LogAnomalyPipeline"
    assert "somebody" not in text
    assert encoder_config._name_or_path == "/home/somebody/bert"  # the caller's config is left alone
