"""Features in the model: how entries and sequences depart from a reference, beside and in place of text."""

import copy
import json

import numpy as np
import pytest
import torch
from conftest import make_model
from test_modeling import CLOSE, plain_form

from logmoe import LogMoEForSequenceClassification, LogMoEModel
from logmoe.predicting_logmoe import in_precision
from logmoe.terms_logmoe import LogMoEFeaturePieces, LogMoETerm

FIELDS = {
    "entry_feature_names": ["new", "rare", "order"],
    "sequence_feature_names": ["new_max", "order_max", "overdue", "pace"],
    "sequence_feature_terms": {"surprise": ["order_max", "new_max"], "silence": ["overdue", "pace", "new_max"]},
}
NAN = float("nan")
# The same numbers; a kernel may add them in another order where memory is laid out otherwise.
EXACT = {"atol": 1e-6, "rtol": 1e-6}
LOGITS_BEFORE = torch.tensor([[1.3086107, 1.7424107], [1.3047061, 1.7388809]])
SCORES_BEFORE = torch.tensor([[0.0529554, 0.0527460, 0.0531364, 0.0], [0.0396014, 0.0394464, 0.0397379, 0.0404272]])


def featured_model(**overrides):
    model = make_model(**FIELDS, **overrides)
    generator = torch.Generator().manual_seed(3)
    model.set_feature_statistics(
        entry_features=torch.randn(50, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.1]) + 2,
        sequence_features=torch.randn(50, 4, generator=generator) * torch.tensor([1.0, 20.0, 0.5, 2.0]) - 3,
    )
    return model


@pytest.fixture
def featured():
    return featured_model()


@pytest.fixture
def features():
    """Of the two sequences of `compact_batch`, which have three and four entries."""
    generator = torch.Generator().manual_seed(2)
    entry_features = 3 * torch.randn(2, 4, 3, generator=generator)
    entry_features[0, 1, 2] = NAN  # not available
    return {
        "entry_features": entry_features,
        "sequence_features": torch.randn(2, 4, generator=generator) * torch.tensor([1.0, 20.0, 0.5, 2.0]) - 3,
    }


def all_forms(model, batch):
    index = batch["entry_index"]
    distinct = model.model.encode_entries(batch["input_ids"], batch["attention_mask"])
    return {
        "compact": batch,
        "plain": plain_form(batch),
        "encoded": {"entry_embeds": distinct[index.clamp(min=0)], "entry_mask": index >= 0},
        "shared": {"entry_embeds": distinct, "entry_index": index},
    }


# ---------------------------------------------------------------------- features of entries


@pytest.mark.parametrize("given", ["features", "features of the second alone", "none"])
def test_input_forms_give_the_same_logits_with_features(featured, compact_batch, features, given):
    if given == "none":
        features = {}
    elif given != "features":
        features["entry_features"][0] = NAN
    forms = all_forms(featured, compact_batch)
    expected = featured(**forms["encoded"], **features)
    for form in forms.values():
        output = featured(**form, **features)
        torch.testing.assert_close(output.logits, expected.logits, **CLOSE)
        torch.testing.assert_close(output.entry_scores, expected.entry_scores, **CLOSE)


def test_each_entry_reads_its_own_features(featured, compact_batch, features):
    """Also where an entry occurs twice in a sequence, and is projected once."""
    before = featured(**compact_batch, **features).logits
    for place in range(4):
        changed = features["entry_features"].clone()
        changed[1, place, 0] += 1.0
        after = featured(
            **compact_batch, entry_features=changed, sequence_features=features["sequence_features"]
        ).logits
        assert (after[1] - before[1]).abs().max() > 1e-4
        torch.testing.assert_close(after[0], before[0], **CLOSE)
    swapped = features["entry_features"].clone()
    swapped[1, [0, 1]] = swapped[1, [1, 0]]  # places 0 and 1 hold the same entry
    after = featured(**compact_batch, **features | {"entry_features": swapped}).logits
    assert (after[1] - before[1]).abs().max() > 1e-4


def test_distinct_entries_are_projected_once_with_features(featured, compact_batch, features):
    rows = []
    featured.model.sequence_stack.projection.register_forward_hook(lambda m, given, out: rows.append(len(given[0])))
    forms = all_forms(featured, compact_batch)
    index = torch.tensor([[0, 1, 0, 1, 1, 0], [1, 0, 1, 0, 0, 0]])
    featured(entry_embeds=forms["shared"]["entry_embeds"], entry_index=index, entry_features=torch.zeros(2, 6, 3))
    assert rows == [2]


def test_all_nan_counts_as_no_reference(featured, compact_batch, features):
    """Alone, in a batch with others, and as None; a value at padding is no value."""
    with_reference = featured(**compact_batch, **features).logits
    without = featured(**compact_batch).logits
    all_nan = {name: torch.full_like(values, NAN) for name, values in features.items()}
    all_nan["entry_features"][0, 3] = 1.0  # padding
    torch.testing.assert_close(featured(**compact_batch, **all_nan).logits, without, **CLOSE)
    mixed = copy.deepcopy(features)
    for values in mixed.values():
        values[0] = NAN
    output = featured(**compact_batch, **mixed)
    torch.testing.assert_close(output.logits[0], without[0], **CLOSE)
    torch.testing.assert_close(output.logits[1], with_reference[1], **CLOSE)
    assert (with_reference - without).abs().min() > 1e-3
    # "No reference" is not "at the mean in every feature".
    mean = featured.model.sequence_stack.entry_features.scaler.mean.expand(2, 4, 3)
    assert (featured(**compact_batch, entry_features=mean).logits - without).abs().min() > 1e-3


def test_a_feature_that_is_not_available_counts_as_the_mean(featured, compact_batch, features):
    expected = featured(**compact_batch, **features).logits
    mean = featured.model.sequence_stack.entry_features.scaler.mean
    features["entry_features"][0, 1, 2] = mean[2]
    torch.testing.assert_close(featured(**compact_batch, **features).logits, expected, **CLOSE)


def test_features_are_standardised_and_clipped(featured):
    scaler = featured.model.sequence_stack.entry_features.scaler
    with torch.no_grad():
        scaler.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        scaler.scale.copy_(torch.tensor([2.0, 1.0, 0.5]))
    given = torch.tensor([[3.0, 2.5, 2.0], [NAN, 9.0, -1.0], [float("inf"), float("-inf"), 3.0]])
    expected = torch.tensor([[1.0, 0.5, -2.0], [0.0, 6.0, -6.0], [6.0, -6.0, 0.0]])
    torch.testing.assert_close(scaler(given), expected)


@pytest.mark.parametrize("value", [NAN, float("inf"), 1e9])
def test_features_at_padding_do_not_matter(featured, compact_batch, features, value):
    for form in all_forms(featured, compact_batch).values():
        before = featured(**form, **features)
        changed = features["entry_features"].clone()
        changed[0, 3] = value
        output = featured(**form, **features | {"entry_features": changed})
        torch.testing.assert_close(output.logits, before.logits, **CLOSE)
        assert output.entry_scores[0, 3] == 0


def test_embeddings_of_whole_sequences_are_dropped_in_training_where_there_is_a_reference(features):
    model = featured_model(embedding_dropout_prob=0.5, hidden_dropout_prob=0.0)
    stack = model.model.sequence_stack
    seen = []
    stack.projection.register_forward_hook(lambda m, given, out: seen.append(given[0].abs().amax(dim=2) > 0))
    embeds, entry_features = torch.randn(400, 3, 32), torch.randn(400, 3, 3)
    entry_features[200:] = NAN
    mask = torch.ones(400, 3, dtype=torch.bool)
    torch.manual_seed(0)
    stack.train()(embeds, mask, None, entry_features)
    is_kept = seen[0]
    assert torch.equal(is_kept.any(dim=1), is_kept.all(dim=1))  # all of a sequence or nothing
    assert 0.4 < is_kept[:200].float().mean() < 0.6
    assert is_kept[200:].all()
    stack.eval()(embeds, mask, None, entry_features)
    assert seen[1].all()


# ---------------------------------------------------------------------- terms of sequences


def test_terms_add_to_the_margin_and_leave_entry_scores_alone(featured, compact_batch, features):
    output = featured(**compact_batch, **features)
    without = featured(**compact_batch, entry_features=features["entry_features"])
    assert output.term_margins.shape == (2, 2)
    assert output.term_margins.abs().min() > 1e-3
    torch.testing.assert_close(output.entry_scores, without.entry_scores, atol=0, rtol=0)
    half = output.term_margins.sum(dim=1) / 2
    torch.testing.assert_close(output.logits, without.logits + torch.stack([-half, half], dim=1), **CLOSE)
    assert without.term_margins.abs().max() == 0
    assert torch.equal(featured.sequence_terms(features["sequence_features"]), output.term_margins)
    bias = featured.classification_head.classifier.bias
    margin = output.entry_scores.sum(dim=1) + output.term_margins.sum(dim=1) + bias[1] - bias[0]
    torch.testing.assert_close(margin, output.logits[:, 1] - output.logits[:, 0], **CLOSE)


def test_a_term_reads_its_own_features(featured, features):
    before = featured.sequence_terms(features["sequence_features"])
    for place, reads in enumerate(([1, 1], [0, 1], [1, 0], [1, 0])):  # by silence, by surprise
        changed = features["sequence_features"].clone()
        changed[:, place] += 0.2
        moved = (featured.sequence_terms(changed) - before).abs().amax(dim=0) > 1e-6
        assert moved.tolist() == [bool(read) for read in reads]


def test_sequences_without_features_get_exactly_nothing_from_the_terms(featured, compact_batch, features):
    features["sequence_features"][0] = NAN
    features["sequence_features"][1, 2] = NAN
    output = featured(**compact_batch, **features)
    assert output.term_margins[0].tolist() == [0, 0]
    assert output.term_margins[1].abs().min() > 1e-3
    mean = featured.sequence_terms.scaler.mean
    features["sequence_features"][1, 2] = mean[2]
    torch.testing.assert_close(featured(**compact_batch, **features).logits, output.logits, **CLOSE)


def test_a_model_may_have_features_of_one_kind(compact_batch, features):
    entries = make_model(entry_feature_names=FIELDS["entry_feature_names"])
    assert entries(**compact_batch, entry_features=features["entry_features"]).term_margins is None
    terms = {name: value for name, value in FIELDS.items() if name.startswith("sequence")}
    sequences = make_model(**terms)
    assert sequences(**compact_batch, sequence_features=features["sequence_features"]).term_margins.shape == (2, 2)
    # The stack is that of a model without features.
    torch.testing.assert_close(sequences(**compact_batch).logits, make_model(**terms)(**compact_batch).logits)


def test_a_new_term_starts_like_a_layer_of_torch(featured):
    surprise = featured.sequence_terms.terms["surprise"]
    assert 0.3 < surprise.hidden.weight.std() < 0.5  # uniform within 1 / sqrt(2)
    assert 0.05 < surprise.output.weight.std() < 0.1  # uniform within 1 / 8
    assert surprise.hidden.bias.abs().max() == 0


# ---------------------------------------------------------------------- shares of features


def test_what_stands_for_no_reference_starts_about_zero(featured):
    assert 0 < featured.model.sequence_stack.entry_features.no_reference.abs().max() < 1


def test_shares_sum_to_the_margin_against_the_baseline(featured):
    generator = torch.Generator().manual_seed(4)
    sequences = 8 * torch.randn(200, 4, generator=generator) - 3
    sequences[0, 1] = NAN
    baseline = torch.tensor([-3.0, -2.0, -3.1, NAN])
    margins = featured.sequence_terms(sequences) - featured.sequence_terms(baseline[None])
    per_term = featured.feature_shares(sequences, baseline, per_term=True)
    assert per_term.shape == (200, 2, 4)
    torch.testing.assert_close(per_term.sum(dim=2), margins, **CLOSE)
    shares = featured.feature_shares(sequences, baseline)
    torch.testing.assert_close(shares, per_term.sum(dim=1))
    torch.testing.assert_close(shares.sum(dim=1), margins.sum(dim=1), **CLOSE)
    assert per_term[:, 1, 2:].abs().max() == 0  # "surprise" reads neither "overdue" nor "pace"
    # Those of a mode that draws are the same, and arrays will do.
    again = featured.train().feature_shares(sequences.numpy(), baseline.numpy())
    torch.testing.assert_close(again, shares, atol=0, rtol=0)


def test_shares_are_the_integrated_gradients(featured, features):
    term = featured.sequence_terms.terms["silence"]
    generator = torch.Generator().manual_seed(5)
    sequences, baseline = 3 * torch.randn(6, 3, generator=generator), torch.randn(3, generator=generator)
    sequences[0] = baseline + 1e-3  # hidden units that hardly move
    sequences[1] = baseline
    steps = (torch.arange(1000) + 0.5) / 1000
    line = (baseline + steps[:, None, None] * (sequences - baseline)).requires_grad_()  # (steps, sequences, features)
    (gradients,) = torch.autograd.grad(term(line.flatten(0, 1)).sum(), line)
    expected = (sequences - baseline) * gradients.mean(dim=0)
    torch.testing.assert_close(term.shares(sequences, baseline), expected, atol=1e-6, rtol=1e-4)
    assert term.shares(sequences, baseline)[1].abs().max() == 0


@torch.no_grad()
def test_shares_of_a_linear_term_are_weight_times_distance():
    """With biases that keep its units in the linear part of GELU, a term is linear."""
    term = LogMoETerm(num_features=3, hidden_size=2, dropout=0.3).eval()
    term.hidden.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]))
    term.hidden.bias.fill_(50.0)
    term.output.weight.copy_(torch.tensor([[0.5, -3.0]]))
    shares = term.shares(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([0.0, 1.0, 1.0]))
    torch.testing.assert_close(shares, torch.tensor([[0.5, -3.0, 2.0]]), atol=1e-4, rtol=0)


def test_shares_without_features_and_without_change(featured):
    baseline = torch.tensor([-3.0, -2.0, -3.1, -2.0])
    assert featured.feature_shares(torch.full((1, 4), NAN), baseline).abs().max() == 0
    assert featured.feature_shares(baseline[None], baseline).abs().max() == 0
    assert featured.feature_shares(torch.empty(0, 4), baseline).shape == (0, 4)
    with pytest.raises(ValueError, match="`baseline` must have a value"):
        featured.feature_shares(torch.zeros(1, 4), torch.full((4,), NAN))


# ---------------------------------------------------------------------- features in pieces


def test_pieces_say_how_far_a_value_fills_each():
    pieces = LogMoEFeaturePieces(num_features=3, num_pieces=2)
    few = [[0.0, 7.0, NAN], [1.0, 7.0, NAN], [2.0, 7.0, NAN], [6.0, 7.0, float("inf")], [10.0, 9.0, NAN]]
    pieces.fit(torch.tensor(few))
    assert pieces.edges.tolist() == [[0, 2, 10], [7, 7, 9], [0, 0, 0]]
    given = torch.tensor([[1.0, 7.0, 1.0], [6.0, 8.0, -1.0], [-99.0, 6.0, NAN], [float("inf"), NAN, 0.0]])
    assert pieces(given).tolist() == [
        [[0, -0.5], [0.5, -0.5], [0.5, 0.5]],  # 7 fills the piece that is a step
        [[0.5, 0], [0.5, 0], [-0.5, -0.5]],
        [[-0.5, -0.5], [-0.5, -0.5], [0, 0]],
        [[0.5, 0.5], [0, 0], [0.5, 0.5]],
    ]


def test_terms_that_read_pieces_keep_every_promise(features, compact_batch, tmp_path):
    """Shares sum, nothing for no features, neither precision nor saving changes them."""
    model = featured_model(feature_pieces=3)
    sequences = 8 * torch.randn(200, 4, generator=torch.Generator().manual_seed(4)) - 3
    sequences[0, 1] = NAN
    baseline = torch.tensor([-3.0, -2.0, -3.1, NAN])
    margins = model.sequence_terms(sequences) - model.sequence_terms(baseline[None])
    per_term = model.feature_shares(sequences, baseline, per_term=True)
    torch.testing.assert_close(per_term.sum(dim=2), margins, **CLOSE)
    assert per_term[:, 1, 2:].abs().max() == 0  # "surprise" reads neither "overdue" nor "pace"
    assert model.sequence_terms(torch.full((1, 4), NAN)).tolist() == [[0, 0]]
    smooth = featured_model()
    assert not torch.allclose(model.sequence_terms(sequences), smooth.sequence_terms(sequences))
    model.save_pretrained(tmp_path)
    loaded = LogMoEForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.sequence_terms(sequences), model.sequence_terms(sequences), atol=0, rtol=0)
    half = LogMoEForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    torch.testing.assert_close(half.sequence_terms(sequences), model.sequence_terms(sequences), **EXACT)


# ---------------------------------------------------------------------- statistics


def test_statistics_are_mean_and_deviation_of_what_is_finite():
    model = make_model(**FIELDS)
    entries = np.array(
        [[[1.0, 5.0, NAN], [3.0, 5.0, NAN]], [[NAN, 5.0, NAN], [float("inf"), 5.0, NAN]]], dtype=np.float32
    )
    model.set_feature_statistics(entry_features=entries)
    scaler = model.model.sequence_stack.entry_features.scaler
    # The second does not vary, of the third nothing is known.
    assert scaler.mean.tolist() == [2.0, 5.0, 0.0]
    assert scaler.scale.tolist() == [1.0, 1.0, 1.0]
    assert model.sequence_terms.scaler.mean.abs().max() == 0  # left alone
    model.set_feature_statistics(sequence_features=torch.tensor([[0.0, 1.0, 1e6, 4.0], [4.0, 1.0, 1e6 + 2, 0.0]]))
    assert model.sequence_terms.scaler.mean.tolist() == [2.0, 1.0, 1e6 + 1, 2.0]
    assert model.sequence_terms.scaler.scale.tolist() == [2.0, 1.0, 1.0, 2.0]


# ---------------------------------------------------------------------- at home in transformers and torch


def test_without_features_a_model_is_what_it_was(model, compact_batch, tmp_path):
    """Checkpoints made before there were features load without a word, and judge to the digit as they did."""
    assert not [name for name in model.state_dict() if "feature" in name or "terms" in name or "reference" in name]
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            parameter.copy_((torch.arange(parameter.numel()) * (0.37 + 0.01 * place)).sin().view_as(parameter) / 3)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    old = {name: value for name, value in config.items() if "feature" not in name and name != "embedding_dropout_prob"}
    assert len(config) - len(old) == 8
    (tmp_path / "config.json").write_text(json.dumps(old))
    loaded, info = LogMoEForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for form in all_forms(loaded, compact_batch).values():
        output = loaded(**form)
        assert output.term_margins is None
        # Seen with the code before there were features.
        torch.testing.assert_close(output.logits, LOGITS_BEFORE, **CLOSE)
        torch.testing.assert_close(output.entry_scores, SCORES_BEFORE, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_terms_are_float32_in_a_half_precision_model(featured, compact_batch, features, dtype, tmp_path):
    expected = featured(**compact_batch, **features)
    featured.save_pretrained(tmp_path)
    halves = {
        "converted": copy.deepcopy(featured).to(dtype),
        "in_precision": in_precision(featured, dtype),
        "loaded": LogMoEForSequenceClassification.from_pretrained(tmp_path, dtype=dtype),
    }
    for how, half in halves.items():
        assert half.model.sequence_stack.projection.weight.dtype == dtype
        assert half.model.sequence_stack.entry_features.scaler.mean.dtype == torch.float32, how
        output = half(**compact_batch, **features)
        torch.testing.assert_close(output.term_margins, expected.term_margins, **EXACT)
        assert (output.logits - expected.logits).abs().max() < 0.5
        shares = half.feature_shares(features["sequence_features"], torch.zeros(4))
        torch.testing.assert_close(
            shares, featured.feature_shares(features["sequence_features"], torch.zeros(4)), **EXACT
        )
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(featured(**compact_batch, **features).term_margins, expected.term_margins)


def test_models_with_features_are_saved_and_load_unchanged(featured, compact_batch, features, tmp_path):
    expected = featured(**compact_batch, **features)
    featured.save_pretrained(tmp_path)
    loaded, info = LogMoEForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    output = loaded(**compact_batch, **features)
    kept = featured.state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in loaded.state_dict().items())
    torch.testing.assert_close(output.logits, expected.logits, **EXACT)
    torch.testing.assert_close(output.term_margins, expected.term_margins, **EXACT)
    base, info = LogMoEModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    states = base(**compact_batch, entry_features=features["entry_features"]).last_hidden_state
    kept = featured.model(**compact_batch, entry_features=features["entry_features"]).last_hidden_state
    torch.testing.assert_close(states, kept, **EXACT)


def test_features_can_be_added_to_a_checkpoint_without_them(model, compact_batch, features, tmp_path):
    """Every new weight and buffer is drawn as in a new model, though loading builds models on the meta device."""
    model.save_pretrained(tmp_path)
    loaded, info = LogMoEForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True, feature_pieces=2, **FIELDS
    )
    assert info["missing_keys"]
    assert all("entry_features." in name or "sequence_terms." in name for name in info["missing_keys"])
    assert 0.1 < loaded.model.sequence_stack.entry_features.no_reference.std() < 0.3  # initializer_range is 0.2
    assert 0.2 < loaded.sequence_terms.terms["surprise"].hidden.weight.std() < 0.3  # 2 features of 1 + 2 numbers
    assert loaded.sequence_terms.pieces.edges.unique().tolist() == [0]
    for scaler in (loaded.sequence_terms.scaler, loaded.model.sequence_stack.entry_features.scaler):
        assert scaler.mean.unique().tolist() == [0]
        assert scaler.scale.unique().tolist() == [1]
    assert loaded(**compact_batch, **features).logits.isfinite().all()


@pytest.mark.parametrize("given", ["features", "none"])
def test_every_parameter_gets_a_gradient_with_and_without_features(compact_batch, features, given):
    """DDP fails on a parameter without one."""
    model = featured_model().train()
    features = features if given == "features" else {}
    model(**compact_batch, **features, labels=torch.tensor([0, 1])).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    moved = model.sequence_terms.terms["silence"].hidden.weight.grad.abs().max() > 0
    assert moved == (given == "features")
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_sequence_stack_with_features_compiles_without_graph_breaks(featured):
    stack = featured.model.sequence_stack
    embeds, mask, entry_features = torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool), torch.randn(3, 5, 3)
    mask[0, 3:] = False
    entry_features[1] = NAN
    torch._dynamo.reset()
    states, _ = stack(embeds, mask, None, entry_features)
    compiled, _ = torch.compile(stack, backend="aot_eager", fullgraph=True)(embeds, mask, None, entry_features)
    torch.testing.assert_close(compiled[mask], states[mask], **CLOSE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"entry_features": torch.ones(2, 4, 2)}, r"`entry_features` must have shape \(2, 4, 3\).*new, rare, order.*"),
        ({"entry_features": torch.ones(2, 3, 3)}, r"must have shape \(2, 4, 3\).* got \(2, 3, 3\)"),
        ({"sequence_features": torch.ones(2, 3)}, r"`sequence_features` must have shape \(2, 4\).*got \(2, 3\)"),
        ({"sequence_features": torch.ones(1, 4)}, r"must have shape \(2, 4\).*got \(1, 4\)"),
    ],
)
def test_features_of_another_shape_are_refused(featured, compact_batch, arguments, message):
    with pytest.raises(ValueError, match=message):
        featured(**compact_batch, **arguments)


def test_features_are_refused_by_a_model_without(model, compact_batch, featured):
    for name, values in (("entry_features", torch.ones(2, 4, 1)), ("sequence_features", torch.ones(2, 1))):
        with pytest.raises(ValueError, match=f"`{name}` cannot be used: this model reads no such features"):
            model(**compact_batch, **{name: values})
        with pytest.raises(ValueError, match=f"`{name}` cannot be used"):
            model.set_feature_statistics(**{name: values})
    with pytest.raises(ValueError, match="`sequence_features` cannot be used"):
        model.feature_shares(torch.ones(2, 1), torch.ones(1))
    with pytest.raises(ValueError, match=r"`entry_features` must have shape \(9, 3\)"):
        featured.set_feature_statistics(entry_features=np.ones((9, 2)))
    with pytest.raises(ValueError, match=r"`baseline` must have shape \(4,\)"):
        featured.feature_shares(torch.ones(2, 4), torch.ones(1, 4))
