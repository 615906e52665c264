"""The model: forms of input, invariances, training, saving, encoders, and entry scores that are faithful."""

import copy

import pytest
import torch
from conftest import MINI, WORDS, make_model, tiny_encoder_config, tiny_tokenizer
from transformers import (
    AutoModel,
    DistilBertConfig,
    ModernBertConfig,
    RobertaConfig,
)

from logmoe import LogAnomalyPipeline, LogMoEForSequenceClassification, LogMoEModel, LogMoEProcessor

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def plain_form(batch):
    index = batch["entry_index"]
    mask = batch["attention_mask"][index.clamp(min=0)] * (index >= 0)[..., None]
    return {"input_ids": batch["input_ids"][index.clamp(min=0)], "attention_mask": mask}


# ---------------------------------------------------------------------- input forms and invariances


def test_input_forms_give_the_same_logits(model, compact_batch):
    compact = model(**compact_batch)
    plain = model(**plain_form(compact_batch))
    index = compact_batch["entry_index"]
    distinct = model.model.encode_entries(compact_batch["input_ids"], compact_batch["attention_mask"])
    encoded = model(entry_embeds=distinct[index.clamp(min=0)], entry_mask=index >= 0)
    shared = model(entry_embeds=distinct, entry_index=index)
    assert (compact.logits[0] - compact.logits[1]).abs().max() > 1e-2  # the model tells the two sequences apart
    for other in (plain, encoded, shared):
        torch.testing.assert_close(other.logits, compact.logits, **CLOSE)
        torch.testing.assert_close(other.entry_scores, compact.entry_scores, **CLOSE)


def test_logits_do_not_depend_on_the_batch_or_on_shared_entries(model, compact_batch):
    together = model(**compact_batch).logits
    for row in (0, 1):
        index = compact_batch["entry_index"][row]
        used, alone_index = index[index >= 0].unique(return_inverse=True)
        alone = model(
            input_ids=compact_batch["input_ids"][used],
            attention_mask=compact_batch["attention_mask"][used],
            entry_index=alone_index[None],
        )
        torch.testing.assert_close(alone.logits[0], together[row], **CLOSE)


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_do_not_depend_on_padding(model, compact_batch, side):
    before = model(**compact_batch)
    batch = dict(compact_batch)
    more_tokens = torch.zeros(5, 9, dtype=torch.long)
    for name in ("input_ids", "attention_mask"):
        batch[name] = torch.cat([batch[name], more_tokens], dim=1)
    more_entries = torch.full((2, 3), -1)
    indices = [batch["entry_index"], more_entries]
    batch["entry_index"] = torch.cat(indices if side == "right" else indices[::-1], dim=1)
    after = model(**batch)
    torch.testing.assert_close(after.logits, before.logits, **CLOSE)
    scores = after.entry_scores[:, :4] if side == "right" else after.entry_scores[:, 3:]
    torch.testing.assert_close(scores, before.entry_scores, **CLOSE)


def test_embeddings_at_padding_do_not_matter(model):
    embeds = torch.randn(2, 4, 32)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    before = model(entry_embeds=embeds, entry_mask=mask).logits
    embeds[~mask] = float("nan")
    torch.testing.assert_close(model(entry_embeds=embeds, entry_mask=mask).logits, before, **CLOSE)


def test_order_of_entries_matters(model):
    embeds = torch.randn(1, 4, 32)
    assert (model(entry_embeds=embeds).logits - model(entry_embeds=embeds.flip(1)).logits).abs().max() > 1e-3


def test_entry_scores_sum_to_the_margin(model, compact_batch):
    output = model(**compact_batch)
    bias = model.classification_head.classifier.bias
    torch.testing.assert_close(
        output.entry_scores.sum(dim=1) + bias[1] - bias[0], output.logits[:, 1] - output.logits[:, 0], **CLOSE
    )
    assert output.entry_scores[0, 3] == 0  # padding


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of"),
        ({"input_ids": torch.ones(1, 1, 2, dtype=torch.long), "entry_embeds": torch.ones(1, 1, 32)}, "exactly one of"),
        ({"entry_embeds": torch.ones(1, 2, 32), "attention_mask": torch.ones(1, 2)}, "goes with `input_ids`"),
        (
            {"input_ids": torch.ones(1, 1, 2, dtype=torch.long), "entry_mask": torch.ones(1, 1)},
            "goes with `entry_embeds` alone",
        ),
        (
            {
                "entry_embeds": torch.ones(2, 32),
                "entry_index": torch.tensor([[0, 1]]),
                "entry_mask": torch.ones(1, 2),
            },
            "goes with `entry_embeds` alone",
        ),
        ({"entry_embeds": torch.ones(2, 32), "entry_index": torch.tensor([[0, 2]])}, r"must lie in \[-1, 1\]"),
        ({"entry_embeds": torch.ones(1, 2, 32), "entry_index": torch.tensor([[0]])}, r"\(distinct_entries, encoder"),
        (
            {"input_ids": torch.ones(1, 2, 2, dtype=torch.long), "attention_mask": torch.zeros(1, 2, 2)},
            r"none: \[0\]",
        ),
        (
            {"input_ids": torch.ones(0, 2, dtype=torch.long), "entry_index": torch.full((1, 2), -1)},
            r"none: \[0\]",
        ),
        ({"input_ids": torch.ones(2, 3, dtype=torch.long)}, r"must be \(sequences, entries, tokens\)"),
        (
            {"input_ids": torch.ones(2, 3, dtype=torch.long), "entry_index": torch.tensor([[0, 2]])},
            r"must lie in \[-1, 1\]",
        ),
        ({"entry_embeds": torch.ones(1, 32)}, "entry_embeds"),
        ({"entry_embeds": torch.ones(1, 9, 32)}, r"at most 8 entries .* got 9"),
        ({"entry_embeds": torch.ones(2, 3, 32), "entry_mask": torch.tensor([[1, 1, 0], [0, 0, 0]])}, r"none: \[1\]"),
        ({"entry_embeds": torch.ones(2, 3, 32), "entry_mask": torch.ones(2, 2)}, "entry_mask"),
        ({"entry_embeds": torch.ones(0, 3, 32)}, "at least one entry"),
        (
            {
                "input_ids": torch.ones(2, 3, dtype=torch.long),
                "attention_mask": torch.ones(2, 2),
                "entry_index": torch.tensor([[0]]),
            },
            "attention_mask",
        ),
    ],
)
def test_mismatched_inputs_are_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model(**arguments)


def test_misspelt_arguments_are_refused(model):
    with pytest.raises(TypeError, match="'entry_masks'"):
        model(entry_embeds=torch.ones(1, 1, 32), entry_masks=torch.ones(1, 1))


# ---------------------------------------------------------------------- at home in transformers and torch


def test_eager_and_sdpa_agree(model, compact_batch):
    eager = make_model(attn_implementation="eager")
    assert eager.model.encoder.config._attn_implementation == "eager"
    torch.testing.assert_close(eager(**compact_batch).logits, model(**compact_batch).logits, **CLOSE)


def test_outputs_on_request(compact_batch):
    model = make_model(attn_implementation="eager")
    output = model(**compact_batch, output_hidden_states=True, output_attentions=True, output_router_logits=True)
    assert [h.shape for h in output.hidden_states] == [(2, 4, 32)] * 3
    assert [a.shape for a in output.attentions] == [(2, 4, 4, 4)] * 2
    assert [r.shape for r in output.router_logits] == [(2, 4, 4)] * 2
    assert output.router_logits[0][0, 3].abs().max() == 0  # padding
    assert output.attentions[0][0, :, :, 3].max() == 0
    assert output.expert_load.shape == (2, 4)
    assert 1 <= output.mean_active_experts <= 4
    plain = model(**compact_batch)
    assert plain.hidden_states is plain.attentions is plain.router_logits is plain.loss is None
    assert isinstance(model(**compact_batch, return_dict=False), tuple)


def test_loss_is_cross_entropy_plus_weighted_router_losses(model, compact_batch):
    labels = torch.tensor([0, 1])
    output = model(**compact_batch, labels=labels)
    config = model.config
    expected = (
        torch.nn.functional.cross_entropy(output.logits, labels)
        + config.load_balance_loss_coef * output.load_balance_loss
        + config.router_entropy_loss_coef * output.router_entropy_loss
        + config.router_z_loss_coef * output.router_z_loss
    )
    torch.testing.assert_close(output.loss, expected)
    assert output.router_logits is None
    model.set_routing_mode("dense")
    dense = model(**compact_batch, labels=labels)
    torch.testing.assert_close(dense.loss, torch.nn.functional.cross_entropy(dense.logits, labels))
    with pytest.raises(ValueError, match="'sparse'"):
        model.set_routing_mode("sparse")


def test_every_parameter_gets_a_gradient(model, compact_batch):
    for mode in ("top_p", "dense"):
        model.set_routing_mode(mode)
        model.zero_grad()
        model(**compact_batch, labels=torch.tensor([0, 1])).loss.backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_leaves_gradients_unchanged(compact_batch, use_reentrant):
    gradients = []
    for checkpointing in (False, True):
        model = make_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        for dropout in (m for m in model.modules() if isinstance(m, torch.nn.Dropout)):
            dropout.p = 0.0
        model.train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
        model(**compact_batch, labels=torch.tensor([0, 1])).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, **CLOSE, msg=name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_half_precision(compact_batch, dtype, attention):
    full = make_model(attn_implementation=attention)
    half = copy.deepcopy(full).to(dtype)
    output = half(**compact_batch, labels=torch.tensor([0, 1]))
    assert output.logits.dtype == torch.float32
    assert output.logits.isfinite().all()
    # Rounded states may keep other experts, so the bound is loose; it still separates the two sequences' logits.
    assert (output.logits - full(**compact_batch).logits).abs().max() < 0.5
    output.loss.backward()


def test_autocast(model, compact_batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**compact_batch, labels=torch.tensor([0, 1]))
    output.loss.backward()
    assert output.loss.isfinite()


def test_sequence_stack_compiles_without_graph_breaks(model):
    stack = model.model.sequence_stack
    embeds, mask = torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool)
    mask[0, 3:] = False
    weight = torch.randn(3, 5, 32) * mask[..., None]

    def run(callable_stack):
        stack.zero_grad()
        states, router_logits = callable_stack(embeds, mask)
        ((states * weight).sum() + sum(logits.square().sum() for logits in router_logits)).backward()
        return states, {name: p.grad.clone() for name, p in stack.named_parameters()}

    torch._dynamo.reset()
    states, gradients = run(stack)
    compiled_states, compiled_gradients = run(torch.compile(stack, backend="aot_eager", fullgraph=True))
    torch.testing.assert_close(compiled_states[mask], states[mask], **CLOSE)
    for name, gradient in gradients.items():
        torch.testing.assert_close(compiled_gradients[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


# ---------------------------------------------------------------------- saving and loading


def test_models_are_saved_as_safetensors_and_load_unchanged(model, compact_batch, tmp_path):
    model.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".py"}
    loaded, info = LogMoEForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    torch.testing.assert_close(loaded(**compact_batch).logits, model(**compact_batch).logits, atol=0, rtol=0)
    base, info = LogMoEModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    torch.testing.assert_close(
        base(**compact_batch).last_hidden_state, model.model(**compact_batch).last_hidden_state, atol=0, rtol=0
    )


def test_loading_onto_the_meta_device_fills_every_parameter(model, compact_batch, tmp_path):
    with torch.device("meta"):
        empty = LogMoEForSequenceClassification(model.config)
    assert all(p.is_meta for p in empty.parameters())
    model.save_pretrained(tmp_path)
    placed = LogMoEForSequenceClassification.from_pretrained(tmp_path, device_map="auto")
    assert not any(p.is_meta for p in placed.parameters())
    torch.testing.assert_close(placed(**compact_batch).logits.cpu(), model(**compact_batch).logits, **CLOSE)


def test_missing_weights_are_initialised_like_those_of_a_new_model(tmp_path):
    """If a checkpoint lacks the experts' weights, `from_pretrained` reports that and draws new ones; it does not leave
    whatever memory held."""
    from safetensors.torch import load_file, save_file

    make_model().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if ".moe." not in name}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = LogMoEForSequenceClassification.from_pretrained(tmp_path)
    for layer in loaded.model.sequence_stack.layers:
        for parameter in layer.moe.parameters():
            assert 0.1 < parameter.std() < 0.3  # initializer_range is 0.2


def test_layers_of_any_width_begin_with_outputs_of_their_inputs_size():
    model = make_model(initializer_range=None, hidden_size=64, moe_intermediate_size=256)
    for name, parameter in model.named_parameters():
        if ".encoder." in name or parameter.dim() < 2:
            continue
        is_small = "router" in name or "position_embeddings" in name
        expected = 0.02 if is_small else parameter.shape[-1] ** -0.5
        assert parameter.std().item() == pytest.approx(expected, rel=0.25), name


@pytest.mark.parametrize("hidden_size", [16, 32, 64])
def test_a_whitened_projection_spreads_what_tells_entries_apart(hidden_size):
    """All embeddings have a large part in common, and differ in some directions ten times as much as in others."""
    embeds = 5 + torch.randn(400, 32) * torch.linspace(1, 10, 32)
    model = make_model(hidden_size=hidden_size)
    model.whiten_projection(embeds)
    projected = model.model.sequence_stack.projection(embeds).detach()
    torch.testing.assert_close(projected.mean(dim=0), torch.zeros(hidden_size), atol=1e-4, rtol=0)
    assert 0.6 < projected.square().mean() < 1.1
    variance = torch.linalg.eigvalsh(projected.T.cov())[-min(hidden_size, 32) :]
    assert variance[-1] / variance[0] < 6  # from 100


def test_what_a_whitened_projection_makes_of_known_variances():
    """Four directions have variances of 4 to 0.01 small units, the others hardly any: those are left out."""
    unit, known = 1e-3, torch.tensor([4.0, 1.0, 0.1, 0.01]).double()
    embeds = torch.randn(400, 32).double()
    embeds = torch.linalg.qr(embeds - embeds.mean(dim=0))[0] * 400**0.5  # uncorrelated, variance 1
    embeds[:, 4:] *= 1e-7 * unit
    embeds[:, :4] *= known.sqrt() * unit
    turn = torch.linalg.qr(torch.randn(32, 32).double())[0]
    model = make_model(hidden_size=16).double()
    model.whiten_projection(embeds @ turn + 3)
    projected = model.model.sequence_stack.projection(embeds @ turn + 3).detach()
    variance = torch.linalg.eigvalsh(projected.T @ projected / 400)
    expected = known / (known + 0.1 * known.mean()) * 16 / 4
    torch.testing.assert_close(variance[-4:], expected.flip(0), rtol=1e-4, atol=1e-6)
    assert variance[:-4].abs().max() < 1e-6


@pytest.mark.parametrize("number", [1, 2, 5])
def test_projections_of_few_entries_are_whitened_as_far_as_they_differ(number):
    embeds = torch.randn(number, 32).repeat(2, 1)
    model = make_model()
    model.whiten_projection(embeds)
    projected = model.model.sequence_stack.projection(embeds).detach()
    torch.testing.assert_close(projected.mean(dim=0), torch.zeros(32), atol=1e-4, rtol=0)
    assert torch.cdist(projected[:number], projected[:number])[~torch.eye(number, dtype=bool)].gt(1).all()
    assert model.model.sequence_stack.projection.weight.std() > 0.01


@pytest.mark.parametrize(
    ("embeds", "message"),
    [
        (torch.zeros(3, 8), r"must be \('entries', 32\), got shape \(3, 8\)"),
        (torch.zeros(32), r"got shape \(32,\)"),
        (torch.zeros(0, 32), r"got shape \(0, 32\)"),
        (torch.full((3, 32), float("nan")), "must be finite"),
    ],
)
def test_embeddings_that_do_not_fit_whiten_nothing(model, embeds, message):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        model.whiten_projection(embeds)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_loading_in_half_precision(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = LogMoEForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}


# ---------------------------------------------------------------------- encoders

ENCODERS = {
    "bert": tiny_encoder_config(),
    "minilm": tiny_encoder_config(hidden_size=48, num_hidden_layers=2, num_attention_heads=12, intermediate_size=96),
    "distilbert": DistilBertConfig(
        vocab_size=len(WORDS), dim=32, n_layers=1, n_heads=2, hidden_dim=64, max_position_embeddings=64
    ),
    "roberta": RobertaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        pad_token_id=0,
    ),
    "modernbert": ModernBertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=2,
        cls_token_id=2,
        eos_token_id=3,
        sep_token_id=3,
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_from_encoder_pretrained(name, compact_batch, tmp_path):
    torch.manual_seed(1)
    encoder = AutoModel.from_config(ENCODERS[name]).eval()
    encoder.save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    processor = LogMoEProcessor.from_encoder_pretrained(tmp_path / "encoder", max_log_entry_length=32)
    model = LogMoEForSequenceClassification.from_encoder_pretrained(
        str(tmp_path / "encoder"),
        processor=processor,
        hidden_size=32,
        num_attention_heads=4,
        num_hidden_layers=1,
        max_log_entry_length=32,
    ).eval()
    assert (
        model.config.encoder_config.vocab_size
        == len(processor.tokenizer)
        == len(WORDS) + len(processor.placeholders())
    )
    # The encoder is the pretrained one: it encodes its own word pieces as before.
    ids, mask = compact_batch["input_ids"], compact_batch["attention_mask"]
    states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(model.model.encode_entries(ids, mask), pooled, **CLOSE)
    # Padding tokens do not change an entry's embedding, whatever the encoder.
    wide = {k: torch.cat([v, torch.zeros_like(v)], dim=1) for k, v in (("input_ids", ids), ("attention_mask", mask))}
    torch.testing.assert_close(model.model.encode_entries(**wide), pooled, **CLOSE)
    # The model built on it is saved and loaded complete.
    model.save_pretrained(tmp_path / "model")
    loaded, info = LogMoEForSequenceClassification.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    torch.testing.assert_close(loaded(**compact_batch).logits, model(**compact_batch).logits, atol=0, rtol=0)


def test_placeholders_start_as_the_mean_of_their_phrase(model, processor):
    old = model.get_input_embeddings().weight.clone()
    model.add_placeholders(processor)
    weight = model.get_input_embeddings().weight
    token = processor.tokenizer.convert_tokens_to_ids
    torch.testing.assert_close(weight[token("<IP>")], (old[token("ip")] + old[token("address")]) / 2)
    torch.testing.assert_close(weight[: len(old)], old)
    placeholders = weight[len(old) :]
    assert len(placeholders.unique(dim=0)) == len(placeholders)  # all different


def test_placeholders_take_spare_embeddings_of_the_encoder(processor):
    """Some encoders have more embeddings than their tokenizer has tokens."""
    model = make_model(encoder_config=tiny_encoder_config(vocab_size=200))
    old = model.get_input_embeddings().weight.clone()
    model.add_placeholders(processor)
    weight = model.get_input_embeddings().weight
    token = processor.tokenizer.convert_tokens_to_ids
    assert len(weight) == 200
    torch.testing.assert_close(weight[token("<URL>")], old[token("url")])


def test_trained_placeholders_of_a_checkpoint_are_left_alone(pipe, tmp_path):
    with torch.no_grad():
        pipe.model.get_input_embeddings().weight.normal_()  # as if trained
    before = pipe.model.get_input_embeddings().weight.clone()
    pipe.processor.save_pretrained(tmp_path)
    pipe.model.add_placeholders(LogMoEProcessor.from_pretrained(tmp_path))
    assert torch.equal(pipe.model.get_input_embeddings().weight, before)


def test_tokenizer_of_another_encoder_is_refused(model):
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"word{i}" for i in range(500)])
    with pytest.raises(ValueError, match="do not belong together"):
        model.add_placeholders(LogMoEProcessor(tokenizer))


def test_freeze_encoder(model, compact_batch):
    model.freeze_encoder()
    model(**compact_batch, labels=torch.tensor([0, 1])).loss.backward()
    assert all(p.grad is None for p in model.model.encoder.parameters())
    assert model.model.sequence_stack.projection.weight.grad.abs().max() > 0


def test_peft_lora_on_the_encoder(model, compact_batch, tmp_path):
    peft = pytest.importorskip("peft")
    before = model(**compact_batch).logits
    lora = peft.LoraConfig(
        r=4,
        target_modules=r".*encoder\..*(query|value)",
        modules_to_save=["sequence_stack", "classification_head"],
        init_lora_weights=False,
    )
    adapted = peft.get_peft_model(copy.deepcopy(model), lora)
    trainable = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert any("lora" in name for name in trainable)
    assert not any("encoder" in name and "lora" not in name for name in trainable)
    adapted(**compact_batch, labels=torch.tensor([0, 1])).loss.backward()
    assert all(p.grad is not None for _, p in adapted.named_parameters() if p.requires_grad)
    adapted.eval()
    after = adapted(**compact_batch).logits
    assert (after - before).abs().max() > 1e-4
    adapted.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path).eval()
    torch.testing.assert_close(again(**compact_batch).logits, after, **CLOSE)
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(merged(**compact_batch).logits, after, atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------------- faithful entry scores


def test_removing_the_highest_scoring_entries_lowers_the_margin_more_than_removing_random_ones():
    from logmoe.inference import load_pipeline

    pipe = load_pipeline(MINI, device="cpu")
    examples = MINI.parent.parent / "examples"
    reference = pipe.fit(examples / "apache-healthy.log")
    log = (examples / "apache-faulty.log").read_text()
    anomalous = [s for s in pipe(log, reference=reference)["sequences"] if s["label"] == "anomaly"]
    assert len(anomalous) >= 8
    generator = torch.Generator().manual_seed(0)

    def margins(logs):
        return torch.tensor([r["logits"][1] - r["logits"][0] for r in pipe(logs, reference=reference)])

    full, without_top, without_random = [], [], []
    for sequence in anomalous:
        entries = sequence["entries"]
        by_score = sorted(range(len(entries)), key=lambda row: -entries[row]["score"])
        full.append([e["text"] for e in entries])
        without_top.append([e["text"] for row, e in enumerate(entries) if row not in by_score[:4]])
        random = torch.randperm(len(entries), generator=generator)[:4].tolist()
        without_random.append([e["text"] for row, e in enumerate(entries) if row not in random])
    drop_top = margins(full) - margins(without_top)
    drop_random = margins(full) - margins(without_random)
    assert drop_top.mean() > 2 * max(drop_random.mean(), 0.1)
    assert (drop_top > drop_random).float().mean() > 0.75


def test_pipeline_around_a_peft_model(pipe):
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=2, target_modules=r".*encoder\..*query", init_lora_weights=True)
    adapted = peft.get_peft_model(copy.deepcopy(pipe.model), lora).eval()
    wrapped = LogAnomalyPipeline(adapted, processor=pipe.processor)
    assert wrapped("error a\nb")["logits"] == pytest.approx(pipe("error a\nb")["logits"], abs=1e-5)


def test_an_encoder_call_takes_as_many_entries_as_its_tokens_allow(model, monkeypatch):
    """Rows of the calls, for entries of 6, 3, 1, 1 and 1 tokens; the embeddings stay the same."""
    attention_mask = (torch.arange(6) < torch.tensor([1, 3, 1, 6, 1])[:, None]).long()
    input_ids = 5 + torch.arange(30).reshape(5, 6)
    sizes, encode = [], model.model._encode_batch
    monkeypatch.setattr(
        model.model, "_encode_batch", lambda ids, mask: sizes.append(tuple(ids.shape)) or encode(ids, mask)
    )
    expected = model.model.encode_entries(input_ids, attention_mask)
    assert sizes == [(5, 6)]
    for of_call, of_model, shapes in (
        (1, None, [(1, 6), (1, 3), (1, 1), (1, 1), (1, 1)]),
        (2, 30, [(1, 6), (1, 3), (2, 1), (1, 1)]),
        (None, 12, [(2, 6), (3, 1)]),
        (30, 1, [(5, 6)]),
    ):
        sizes.clear()
        model.model.tokens_per_batch = of_model
        embeds = model.model.encode_entries(input_ids, attention_mask, of_call)
        assert sizes == shapes
        torch.testing.assert_close(embeds, expected, **CLOSE)
