"""Episodes of recorded logs, and the command that trains the default checkpoint on them."""

import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from training_fixtures import make_encoder

sys.path.insert(0, str(ROOT))  # the recordings are no part of the installed package

from logmoe import LogMoEForSequenceClassification, LogMoEProcessor
from logmoe.surprise_logmoe import ENTRY_FEATURES, INPUTS
from logmoe.training import episodes as episodes_of
from logmoe.training import general, teachers
from logmoe.training.episodes import KINDS, VISIBLE, WINDOW
from logmoe.training.metrics import auroc
from logmoe.training.wording import Wording, with_header, without_severity
from recordings.corpus import TEST_ONLY


@pytest.fixture(scope="module")
def redis():
    return episodes_of.read_service("redis")


@pytest.fixture(scope="module")
def episodes(redis):
    embeddings = np.random.default_rng(0).normal(size=(len(redis.templates), 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return episodes_of.measure_episodes([redis], embeddings)


def of_kind(episodes, kind, is_twin=False):
    return episodes.take(np.flatnonzero((episodes.kind == KINDS.index(kind)) & (episodes.is_twin == is_twin)))


def make_recording(faulty, clock=None, faults=()):
    clock = np.arange(len(faulty), dtype=float) if clock is None else clock
    faulty = np.array(faulty, bool)
    return episodes_of.Recording(
        "x-a-1", "x-a", "train", np.arange(len(faulty)), clock, clock, faulty, faulty.astype(np.int8), list(faults)
    )


# ---------------------------------------------------------------------- recordings


def test_test_only_services_never_train():
    assert not set(episodes_of.training_services(TEST_ONLY))


def test_a_sequence_is_anomalous_by_its_entries_or_by_the_time_it_spans():
    text, silence = VISIBLE.index("text"), VISIBLE.index("silence")
    recording = make_recording([0, 0, 1, 0, 0, 0, 0, 0], faults=[(1.5, 2.5, text), (5.2, 5.8, silence)])
    sequences = np.array([[0, 1, -1], [2, 3, -1], [3, 4, -1], [4, 5, 6], [6, 7, -1]])
    assert recording.labels(sequences).tolist() == [0, text, 0, silence, 0]


def test_a_reference_holds_nothing_of_the_recording_nor_of_test_runs_nor_of_faults():
    faulty = np.zeros(40, bool)
    faulty[20] = True
    # Each recording says other things: what is in a reference tells where it is from.
    recordings = [
        replace(make_recording(faulty), name=name, settings=settings, split=split, text=np.arange(40) + 40 * row)
        for row, (name, settings, split) in enumerate(
            [("a-1", "a", "train"), ("a-2", "a", "train"), ("b-3", "b", "train"), ("a-4", "a", "test")]
        )
    ]
    twin = replace(
        make_recording(faulty & False), name="a-4-twin", settings="a", split="twin", text=np.arange(40) + 160
    )
    service = episodes_of.Service("x", [*recordings, twin], np.arange(200), [])
    healthy = np.flatnonzero(~faulty)

    def texts(recording, kind):
        reference = service.reference(recording, kind)
        return None if reference is None else reference.text.tolist()

    assert texts(recordings[0], "earlier") == (healthy + 40).tolist()
    assert texts(recordings[3], "earlier") == [*healthy, *(healthy + 40)]
    assert texts(recordings[3], "twin") == list(range(160, 200))
    assert texts(recordings[3], "both") == [*healthy, *(healthy + 40), *range(160, 200)]
    assert texts(recordings[2], "both") is None
    assert texts(twin, "twin") is None


def test_spliced_faults_fill_the_share_and_time_goes_on():
    faulty = np.zeros(400, bool)
    faulty[100:110] = True
    recording = make_recording(faulty, faults=[(100, 109, VISIBLE.index("text"))])
    positions, time, shown = episodes_of.splice(recording, 0.5, np.random.default_rng(0))
    assert (shown > 0).mean() == pytest.approx(0.5, abs=0.05)
    assert (np.diff(time) >= 0).all()
    assert set(positions[shown > 0]) == set(range(100, 110))
    assert positions[0] == 0
    assert positions[-1] == 399


# ---------------------------------------------------------------------- episodes


def test_episodes_of_every_kind_are_measured(redis, episodes):
    assert {KINDS[kind] for kind in np.unique(episodes.kind)} == set(KINDS)
    assert episodes.entry_features.shape[1:] == (WINDOW, len(ENTRY_FEATURES))
    assert episodes.inputs.shape[1] == len(INPUTS)
    assert episodes.template.max() < len(redis.templates)
    assert not np.isnan(episodes.inputs).all(axis=1).any()
    # Whole runs without faults are there, by others and by themselves.
    assert len(of_kind(episodes, "earlier", is_twin=True))
    assert not of_kind(episodes, "self", is_twin=True).visible.any()
    lengths = set((of_kind(episodes, "short").template >= 0).sum(axis=1).tolist())
    assert lengths == set(episodes_of.SHORT)


def test_what_a_fault_says_is_new_to_a_reference_without_it(episodes):
    whole = of_kind(episodes, "earlier")
    new = whole.entry_features[..., ENTRY_FEATURES.index("template_new")].max(axis=1)
    text = whole.visible == VISIBLE.index("text")
    assert new[text].mean() > 2 * new[whole.visible == 0].mean()


def test_sequences_of_a_reference_are_measured_against_the_rest_of_it(episodes):
    healthy = episodes.kind == KINDS.index("healthy")
    # Against themselves, nothing would ever be new.
    assert episodes.entry_features[healthy][..., ENTRY_FEATURES.index("text_new")].any()
    assert not episodes.visible[healthy].any()
    earlier = episodes.reference[episodes.kind == KINDS.index("earlier")]
    assert set(earlier) <= set(episodes.reference[healthy])


def test_draws_balance_services_and_kinds():
    number = 1000
    rows = np.arange(number)
    empty = np.zeros((number, 0))
    episodes = episodes_of.Episodes(
        (rows >= 900).astype(np.int16),
        np.where(rows % 10 < 9, KINDS.index("earlier"), KINDS.index("self")).astype(np.int16),
        *(np.zeros(number, np.int32), np.zeros(number, bool), empty, empty, empty),
        (rows % 3 == 0).astype(np.int8),
    )
    drawn = general.Draws(episodes, np.random.default_rng(0), {"earlier": 1.0, "self": 3.0}).draw(20000)
    assert episodes.service[drawn].mean() == pytest.approx(0.5, abs=0.02)
    assert (episodes.kind[drawn] == KINDS.index("self")).mean() == pytest.approx(0.75, abs=0.02)


# ---------------------------------------------------------------------- wording


def test_statements_are_dressed_with_and_without_their_severity():
    assert without_severity("ERROR: disk full") == "disk full"
    generator = np.random.default_rng(0)
    dressed = [with_header("disk full", "error", generator) for _ in range(50)]
    assert all(text.endswith("disk full") for text in dressed)
    assert any("ERROR" in text for text in dressed)
    bare = [with_header("disk full", None, generator).lower() for _ in range(50)]
    assert not any(word in text for text in bare for word in ("error", "fatal", "crit"))


def test_a_sequence_of_statements_is_bad_if_one_of_them_is():
    is_bad = np.array([False] * 6 + [True] * 6)
    embeddings = torch.from_numpy(is_bad).float()[:, None]
    wording = Wording(embeddings, is_bad, np.ones(12), np.array([False, True] * 6))
    batch, labels = wording.draw(200, np.random.default_rng(0))
    has_bad = (batch.entry_embeds[..., 0] * batch.entry_mask).any(dim=1)
    assert torch.equal(has_bad.float(), labels)
    assert 0.3 < labels.mean() < 0.7
    assert batch.entry_features.isnan().all()
    assert batch.entry_mask.any(dim=1).all()


# ---------------------------------------------------------------------- teachers


@pytest.fixture
def few_trees(monkeypatch):
    monkeypatch.setattr(teachers, "BOOSTED_TREES", 40)
    monkeypatch.setattr(teachers, "RANDOM_TREES", 40)


def test_teachers_say_how_often_what_looks_so_is_a_fault(episodes, few_trees):
    # One feature tells, and one label in five is wrong.
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=episodes.inputs.shape).astype(np.float32)
    is_fault = inputs[:, 3] > 0
    labels = is_fault ^ (generator.random(len(episodes)) < 0.2)
    made = replace(episodes, inputs=inputs, visible=labels.astype(episodes.visible.dtype))
    rows = generator.integers(0, len(made), len(made))
    said = teachers.teach(made, rows, 0)
    assert said.dtype == np.float32
    assert said.shape == (len(made),)
    sure = np.abs(inputs[:, 3]) > 0.3
    assert auroc(is_fault[sure], said[sure]) > 0.99
    assert 0.6 < said[sure & is_fault].mean() < 0.85  # not as sure as the labels
    assert 0.15 < said[sure & ~is_fault].mean() < 0.4
    assert (teachers.teach(made, rows, 0) == said).all()


def test_one_term_of_surprise_learns_what_teachers_say_and_the_others_from_labels(episodes, monkeypatch, tmp_path):
    """Teachers that tell the opposite of the labels are believed by one of them."""
    inputs = np.random.default_rng(0).normal(size=episodes.inputs.shape).astype(np.float32)
    is_silent = inputs[:, INPUTS.index(general.silence_inputs()[0])] > 0
    visible = np.where(is_silent, VISIBLE.index("silence"), VISIBLE.index("normal")).astype(episodes.visible.dtype)
    made = replace(episodes, inputs=inputs, visible=visible)
    monkeypatch.setattr(general, "teach", lambda *_: np.where(is_silent, 0.1, 0.9).astype(np.float32))
    model, _ = general.new_model(make_encoder(tmp_path / "encoder"), 1, feature_hidden_size=16, feature_pieces=1)
    embeddings = torch.zeros(int(made.template.max()) + 1, model.config.encoder_config.hidden_size)
    recipe = general.Recipe(steps=60, sequences=4, alone=1, averaging=0.9, learning_rate=1e-2)
    general.fit(model, made, embeddings, None, recipe, seed=0)
    with torch.inference_mode():
        margins = model.sequence_terms(torch.from_numpy(inputs)).T.numpy()
    of_term = dict(zip(model.config.sequence_feature_terms, margins, strict=True))
    assert auroc(is_silent, of_term["taught"]) < 0.2
    assert auroc(is_silent, of_term["surprise"]) > 0.8
    assert auroc(is_silent, of_term["silence"]) > 0.8


# ---------------------------------------------------------------------- measuring


def test_auroc_and_quantiles_by_hand():
    assert auroc(np.array([0, 0, 1, 1]), np.array([1.0, 2.0, 2.0, 3.0])) == 0.875
    values, groups = np.array([1.0, 2.0, 3.0, 4.0, 100.0]), np.array([0, 0, 0, 0, 1])
    assert general.quantile(values, groups, 0.5) == 4.0  # half of the weight is the second group's
    assert general.quantile(values, groups, 0.51) == 100.0


def test_one_in_a_hundred_healthy_sequences_lies_above_the_calibrated_score(episodes):
    margins = np.random.default_rng(0).normal(size=len(episodes)) + (episodes.visible > 0)
    center, spread = general.Calibration.of(episodes, margins).reference_scale
    healthy = margins[(episodes.kind == KINDS.index("self")) & episodes.is_twin]
    scores = (healthy - center) / spread
    assert (scores > 1 + 1e-6).sum() <= 0.01 * len(scores) < (scores > 1 - 1e-6).sum()


# ---------------------------------------------------------------------- the command


def train(folder, encoder, statements, groups):
    arguments = f"--services redis tomcat --groups {groups} --steps 3 --threads 1 --layers 1".split()
    files = ["--encoder", str(encoder), "--statements", str(statements), "--output", str(folder)]
    assert general.main([*arguments, *files]) == 0
    return load_file(folder / "model.safetensors")


def test_the_command_trains_a_checkpoint_and_the_same_seed_gives_the_same_weights(tmp_path, few_trees):
    levels = ["error", "warning", "info", "debug"] * 40
    statements = tmp_path / "statements.parquet"
    columns = {
        "text": [f"connection {word} number {row}" for row, word in enumerate(levels)],
        "level": levels,
        "package": [f"package{row // 4 % 20}" for row in range(len(levels))],
    }
    pq.write_table(pa.table(columns), statements)
    encoder = make_encoder(tmp_path / "encoder")
    try:
        first = train(tmp_path / "first", encoder, statements, groups=2)
        again = train(tmp_path / "again", encoder, statements, groups=0)  # thresholds change no weight
    finally:
        torch.use_deterministic_algorithms(False)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["classification_head.classifier.bias"].any()  # 0 before training

    saved = {name for name, tensor in first.items() if tensor.dtype == torch.float16}
    assert any(name.startswith("model.encoder.") for name in saved)
    model = LogMoEForSequenceClassification.from_pretrained(tmp_path / "first")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.routing_mode == "top_p"
    assert model.config.reference_scale != type(model.config)().reference_scale
    processor = LogMoEProcessor.from_pretrained(tmp_path / "first")
    batch = processor("error: connection failed\ninfo: started")
    logits = model.eval()(**batch).logits
    assert torch.isfinite(logits).all()
