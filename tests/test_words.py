"""The term of words: what it adds, in whatever form entries come; how it is fitted, and that training leaves it be."""

import numpy as np
import pytest
import torch
from conftest import WORDS, make_model, tiny_config, tiny_processor
from huggingface_hub.errors import StrictDataclassError
from test_training_data import labelled
from training_fixtures import TINY, make_encoder, make_logs, weights_of, write_jsonl
from transformers import BertTokenizerFast, pipeline

from logmoe import LogMoEForSequenceClassification, LogMoEModel
from logmoe.inference import LogAnomalyDetector
from logmoe.terms_logmoe import LogMoEWordTerm
from logmoe.train import main
from logmoe.training.logs import LogStore
from logmoe.training.words import SCALE, Words, with_words

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture
def worded() -> LogMoEForSequenceClassification:
    model = make_model(word_term_bound=2.0)
    model.word_term.weight.normal_()
    model.word_term.bias.fill_(0.5)
    return model


def margin(output):
    return output.logits[:, 1] - output.logits[:, 0]


def test_a_word_counts_once_in_an_entry_wherever_the_padding_is():
    term = LogMoEWordTerm(8, 2.0)
    term.weight.copy_(torch.arange(8.0))
    term.bias.fill_(0.25)
    ids = torch.tensor([[[3, 5, 3, 0], [0, 7, 0, 0]], [[0, 0, 2, 6], [1, 1, 1, 1]]])
    mask = torch.tensor([[[1, 1, 1, 0], [1, 1, 0, 0]], [[0, 0, 1, 1], [1, 1, 1, 1]]])
    assert term(ids, mask).tolist() == [[8.25, 7.25], [8.25, 1.25]]
    assert term(ids[1, 1]).item() == 1.25  # all are real by default


def test_words_add_their_bounded_mean_over_entries_in_all_forms_of_input(worded, compact_batch):
    ids, mask, index = (compact_batch[name] for name in ("input_ids", "attention_mask", "entry_index"))
    plain = make_model()
    plain.load_state_dict({name: value for name, value in worded.state_dict().items() if "word_term" not in name})
    real = index >= 0
    of_entries = torch.where(real, worded.word_term(ids, mask)[index.clamp(min=0)], 0.0) / real.sum(1, keepdim=True)
    means = of_entries.sum(1, keepdim=True)
    of_entries = of_entries * 2 * torch.tanh(means / 2) / means  # in the same proportions, within 2 logits
    expected = plain(**compact_batch)
    embeds = worded.encode_entries(ids, mask)
    assert embeds.shape[1] == 33
    for output in (
        worded(**compact_batch),
        worded(input_ids=ids[index.clamp(min=0)], attention_mask=mask[index.clamp(min=0)] * real[..., None]),
        worded(entry_embeds=embeds, entry_index=index),
        worded(entry_embeds=embeds[index.clamp(min=0)], entry_mask=real),
    ):
        torch.testing.assert_close(margin(output), margin(expected) + of_entries.sum(1), **CLOSE)
        torch.testing.assert_close(output.entry_scores, expected.entry_scores + of_entries, **CLOSE)
    assert of_entries.sum(1).abs().max() > 0.1


def test_in_training_words_add_nothing(compact_batch):
    """The stack learns as if it were alone; so words have no part in its loss."""
    model = make_model(word_term_bound=2.0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    model.model.encoder.eval()
    before = model(**compact_batch).logits
    model.word_term.weight.fill_(9.0)
    assert torch.equal(model(**compact_batch).logits, before)
    assert not torch.equal(model.eval()(**compact_batch).logits, before)


def test_saved_and_loaded_they_are_the_same(worded, compact_batch, tmp_path):
    worded.save_pretrained(tmp_path)
    loaded, info = LogMoEForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(loaded.eval()(**compact_batch).logits, worded(**compact_batch).logits)
    half = LogMoEForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert torch.equal(half.word_term.weight, worded.word_term.weight)
    torch.testing.assert_close(half(**compact_batch).logits, worded(**compact_batch).logits, atol=0.1, rtol=0.05)
    _, info = LogMoEModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"]


def test_more_word_pieces_weigh_nothing(worded):
    before = worded.word_term.weight.clone()
    worded.resize_token_embeddings(len(before) + 3)
    assert worded.word_term.weight.tolist() == [*before.tolist(), 0, 0, 0]


def test_embeddings_without_what_words_add_are_refused(worded):
    with pytest.raises(ValueError, match=r"must have 33 numbers .* got 32"):
        worded(entry_embeds=torch.ones(1, 2, 32))


def test_only_models_that_read_text_alone_have_them():
    with pytest.raises(StrictDataclassError, match=r"`word_term_bound` \(2.0\) is for models that read text alone"):
        tiny_config(word_term_bound=2.0, entry_feature_names=["new"])


# ---------------------------------------------------------------------- fitting


def fitted(texts, labels):
    processor = tiny_processor()
    store = LogStore(processor)
    logs = labelled(store.add_logs(texts), labels)
    token_ids, _ = processor.tokenize(store.texts)
    return processor, token_ids, Words.fit(logs, store, processor, token_ids)


def test_what_words_speak_for():
    texts = ["info a\ninfo b", "warn a\ninfo b", "info a\nfatal b", "warn b\nfatal a"] * 20
    _, _, words = fitted(texts, [0, 0, 1, 1] * 20)
    weight = dict(zip(WORDS, words.weight.tolist(), strict=False))
    told = {word for word, value in weight.items() if value}
    assert told == {"info", "warn", "fatal", "a", "b"}  # neither what frames an entry nor what no log has
    assert weight["fatal"] > 2
    assert max(weight, key=weight.get) == "fatal"


def test_words_that_the_tokenizer_does_not_know_speak_for_nothing():
    _, _, words = fitted(["xyzzy", "plugh", "xyzzy plugh"], [0, 1, 1])
    assert (words.weight.count_nonzero(), words.bias) == (0, 0)


def test_it_is_the_regression_on_shares_of_entries():
    """Of its penalised likelihood the gradient vanishes; a log counts once with each label that it carries."""
    generator = np.random.default_rng(0)
    logs = [tuple(generator.choice(["fatal", "info"], size=generator.integers(2, 9))) for _ in range(200)]
    labels = [int(generator.random() < log.count("fatal") / len(log)) for log in logs]
    processor, token_ids, words = fitted(["\n".join(log) for log in logs], labels)
    fatal, info = (float(words.weight[WORDS.index(word)]) for word in ("fatal", "info"))

    distinct = sorted(set(zip(logs, labels, strict=True)))
    assert len(distinct) < len(logs)
    shares = np.array([log.count("fatal") / len(log) for log, _ in distinct])
    margins = shares * fatal + (1 - shares) * info + words.bias
    error = 1 / (1 + np.exp(-margins)) - np.array([label for _, label in distinct])
    assert error.sum() == pytest.approx(0, abs=1e-2)
    # The penalty is on weights for features that are SCALE times as large.
    assert (shares * error).sum() + fatal / SCALE**2 == pytest.approx(0, abs=1e-2)

    model = make_model(word_term_bound=2.0)
    model.resize_token_embeddings(len(processor.tokenizer))
    words.put_into(model)
    embeds = with_words(torch.zeros(len(token_ids), 32), model, processor, token_ids)
    assert sorted(embeds[:, -1].tolist()) == pytest.approx(sorted([fatal + words.bias, info + words.bias]), abs=1e-5)


# ---------------------------------------------------------------------- training


def trained(tmp_path, *more):
    encoder = make_encoder(tmp_path / "encoder")
    data = write_jsonl(tmp_path / "logs.jsonl", make_logs(120))
    arguments = f"--encoder {encoder} --train_file {data} --embedding_cache {tmp_path / 'cache'} --split random"
    folder = tmp_path / "out"
    arguments += f" --output_dir {folder} --baselines false --learning_rate 1e-9 --max_steps 1"
    assert main([*arguments.split(), *TINY, *more]) == 0
    return folder


@pytest.mark.parametrize("how", [[], ["--train_encoder"]])
def test_a_checkpoint_judges_by_what_words_tell(tmp_path, how):
    """A run whose stack learns next to nothing."""
    folder = trained(tmp_path, *how)
    pipe = pipeline("log-anomaly", model=str(folder))
    fatal, info = pipe(["info a\nwarn b\nfatal e", "info a\nwarn b\nerror c"])
    assert (fatal["label"], info["label"]) == ("anomaly", "normal")
    scores = [entry["score"] for entry in fatal["sequences"][0]["entries"]]
    assert max(scores) == scores[2]
    detector = LogAnomalyDetector(str(folder))
    embeddings, _ = detector.preprocess_log_sequence("info a", 16, 8)
    assert embeddings.shape[-1] == 32
    encoder = tmp_path / "encoder"
    same = LogAnomalyDetector(str(folder), bert_path=encoder).predict("fatal e")
    assert same["logits"] == pytest.approx(detector.predict("fatal e")["logits"], abs=1e-3)
    vocabulary = {word: row for row, word in enumerate([*WORDS[:5], *reversed(WORDS[5:])])}
    BertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(encoder)
    with pytest.raises(ValueError, match="other word pieces than that of the checkpoint"):
        LogAnomalyDetector(str(folder), bert_path=encoder)


def test_they_can_be_left_out(tmp_path):
    assert "word_term.weight" not in weights_of(trained(tmp_path, "--word_term_bound", "0"))
