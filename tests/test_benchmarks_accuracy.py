"""What benchmarks/accuracy.py counts and keeps, on figures that can be worked out by hand; and that nothing leaks."""

import json
import sys
import time
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT
from training_fixtures import make_encoder, make_logs

sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, no part of the installed package

import accuracy
import accuracy_drift as drift
import accuracy_encoders
import accuracy_labels as labels
import accuracy_left_out as left_out
import accuracy_masks
import accuracy_metrics as metrics
import accuracy_page
import accuracy_per_day as per_day
import accuracy_rivals as rivals
import accuracy_short
import accuracy_store
import accuracy_suspects
import accuracy_unseen
from accuracy_experts import mutual_information
from accuracy_retrained import MEASURED

from logmoe import inference
from logmoe.training.episodes import KINDS, read_service, training_services
from recordings import corpus
from recordings.labels import INJECTOR_ADDRESS
from recordings.windows import read_runs


def windows(rows, number=3, texts=("a b", "a c", "d e", "f g h")):
    template = np.array(rows)
    return rivals.Windows(template, template, list(texts), number)


# ---------------------------------------------------------------------- metrics


def test_metrics_of_calls_by_hand():
    found = metrics.of_calls(np.array([1, 1, 0, 0, 0]), np.array([1, 0, 1, 0, 0]))
    assert (found["recall"], found["precision"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["called_normal"] == pytest.approx(1 / 3)
    assert found["mcc"] == pytest.approx((1 * 2 - 1 * 1) / np.sqrt(2 * 2 * 3 * 3))
    assert np.isnan(metrics.of_calls(np.zeros(2), np.zeros(2))["recall"])


def test_weighted_auroc_counts_windows_as_often_as_they_weigh():
    label, score = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.9, 0.0])
    weights = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 1, 3], [0, 1, 0, 1, 1]], float)
    found = metrics.weighted_auroc(label, score, weights)
    for row in (0, 1):
        times = weights[row].astype(int)
        assert found[row] == pytest.approx(metrics.auroc(np.repeat(label, times), np.repeat(score, times)))
    assert np.isnan(found[2])  # no normal window is left


def test_paired_intervals_hold_the_difference_and_tell_equal_from_better():
    generator = np.random.default_rng(0)
    label = generator.integers(0, 2, 400)
    good, bad = label + generator.normal(0, 0.5, 400), label + generator.normal(0, 5, 400)
    groups = [(np.repeat([0, 1], 200), label, {"ours": good, "same": good, "noisy": bad})]
    found = metrics.paired_intervals(groups, "ours", replicates=100)
    assert found["same"] == {"difference": 0.0, "interval": [0.0, 0.0]}
    low, high = found["noisy"]["interval"]
    assert 0 < low < found["noisy"]["difference"] < high


def test_blocks_of_neighbours_are_drawn_together():
    weights = metrics.block_weights(np.repeat([0, 1], [20, 4]), np.random.default_rng(0), 50)
    assert (weights[:, :8] == weights[:, :1]).all()
    assert (weights[:, 20:] == weights[:, 20:21]).all()
    assert not (weights[:, 16] == weights[:, 20]).all()  # another run, another block


def test_interval_of_a_share():
    assert metrics.share_interval(0, 100) == (0.0, pytest.approx(0.0362, abs=1e-3))
    assert metrics.share_interval(100, 100)[1] == 1.0


def test_mean_and_spread_are_of_draws():
    table = np.array([[0.2, 0.4], [0.6, np.nan], [np.nan, np.nan]])
    assert metrics.mean_and_spread(table) == [pytest.approx(0.45), pytest.approx(np.std([0.4, 0.5], ddof=1))]


# ---------------------------------------------------------------------- rivals


def test_n_grams_tell_order_and_what_is_new():
    score = rivals.n_grams(windows([[0, 1, 0, 1], [1, 0, 1, 0]]), 0)
    usual, doubled, new, short = score(windows([[0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 3, 1], [0, 1, -1, -1]]))
    assert usual == short == 0
    assert doubled == pytest.approx((0 + 2 / 3 + 2 / 2) / 3)
    assert new == pytest.approx((1 / 4 + 2 / 3 + 2 / 2) / 3)


def test_look_up_forgets_order():
    score = rivals.look_up(windows([[0, 1, 1]]), 0)
    assert score(windows([[1, 0, 1], [0, 0, 1]])).tolist() == [0, 1]


def test_hashed_tokens_find_the_nearest_line():
    score = rivals.hashed_tokens(windows([[0, 1]]), 0)
    known, half, far = score(windows([[0, 1], [2, 2], [3, 3]], texts=["a b", "a c", "a x", "f g h"]))
    assert known == pytest.approx(0, abs=1e-6)
    assert 0 < half < far <= 1


def test_the_next_entry_network_learns_what_follows():
    healthy = windows([[0, 1, 2, 0, 1, 2, 0, 1]] * 40)
    score = rivals.next_entry(healthy, 0)
    usual, other = score(windows([[0, 1, 2, 0, 1, 2, 0, 1], [2, 1, 0, 2, 1, 0, 2, 1]]))
    assert usual < 0.5 < other


def test_a_threshold_keeps_its_promise():
    healthy = np.arange(199.0)
    threshold = rivals.promised_threshold(healthy, 0.01)
    assert (healthy > threshold).sum() == 1  # of 199, with the judged one 2 in 200
    assert rivals.promised_threshold(np.arange(5.0), 0.01) == 4


# ---------------------------------------------------------------------- steps


def test_steps_are_kept_by_code_and_checkpoint(tmp_path):
    store = accuracy_store.Store(tmp_path, "one", accuracy.PARTS)
    key = {"service": "a/b", "draw": 0}
    assert not store.has("amount", key)
    store.write("amount", key, {"value": float("nan")}, {"x": np.arange(3)}, {"wall": 1.0})
    assert store.has("amount", key)
    assert not accuracy_store.Store(tmp_path, "two", accuracy.PARTS).has("amount", key)
    kept, steps = store.kept("amount", [key, {"service": "c", "draw": 0}])
    assert kept.records == [{"value": None}]
    assert steps[0]["seconds"] == {"wall": 1.0}
    assert kept.arrays(0)["x"].tolist() == [0, 1, 2]
    # A part that reads another's arrays changes with that part's code.
    assert store.code("promises") != store.code("recordings")


def test_a_checkpoint_is_the_same_in_another_folder_and_another_one_with_other_weights(tmp_path, pipe):
    digests = []
    for name in ("one", "two"):
        pipe.save_pretrained(tmp_path / name)
        digests.append(accuracy_store.model_digest(inference.load_pipeline(str(tmp_path / name)).model))
    assert digests[0] == digests[1]
    model = inference.load_pipeline(str(tmp_path / "two")).model
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1
    digests.append(accuracy_store.model_digest(model))
    model.config.untrained_weight = 0.75
    digests.append(accuracy_store.model_digest(model))
    assert len(set(digests)) == 3


def test_all_steps_are_asked_for_once():
    options = accuracy.parse(["--draws", "2", "--services", "apache", "bind"])
    names = [(name, *key.items()) for name, part in accuracy.PARTS.items() for key in part.keys(options)]
    assert len(names) == len(set(names))
    assert len(accuracy.PARTS["recordings"].keys(options)) == 2 * 6 * 2
    assert accuracy.PARTS["public"].keys(options) == []
    with pytest.raises(ValueError, match="no such service: nothing"):
        accuracy.parse(["--services", "nothing"])


def part_of(result, model="one"):
    seconds, machine = {"wall": 61.0, "processor": 60.0}, {"processor": "a processor"}
    return {"model": model, "code": "c", "date": "2026-01-01", "steps": 3, "steps_asked": 4} | {
        "seconds": seconds,
        "machine": machine,
        "result": result,
    }


CONTENT = {
    "model": "one",
    "parts": {
        "promises": part_of(
            {
                "rows": [
                    {"service": "all", "promised": 0.001, "kept": 0.0125, "windows": 4000, "called": 8}
                    | {"realised": 0.002, "interval": [0.001, 0.004]}
                ]
            }
        ),
        "routing": part_of(
            {
                "0.8": {"earlier": [0.9, 0.01], "twin": [None, None], "earlier_stack": [0.7, None]}
                | {"twin_stack": [0.71, None], "microseconds": [12.34, 0.1], "active_experts": [1.6, 0.0]}
            },
            model="two",
        ),
    },
}


def test_the_page_says_what_the_json_says():
    lines = accuracy_page.page(CONTENT).splitlines()
    assert "| all | 0.1% | 0.0125 | 4,000 | 0.0020 | 0.0010 to 0.0040 |" in lines
    assert "| 0.8 | 1.60 | 12.3 | 0.900 ± 0.010 |  | 0.700 | 0.710 |" in lines
    assert "*Measured with an earlier checkpoint, two; today's is one.*" in lines
    assert "| `promises` | 3 of 4 | 61 | 60 | 2026-01-01 | a processor |" in lines


@pytest.mark.skipif(not accuracy.RESULTS.exists(), reason="`make accuracy` was not run yet: there is no JSON")
def test_the_committed_page_is_that_of_the_committed_json():
    content = json.loads(accuracy.RESULTS.read_text(encoding="utf-8"))
    assert accuracy.PAGE.read_text(encoding="utf-8") == accuracy_page.page(content)


@pytest.mark.skipif(not accuracy.RESULTS.exists(), reason="`make accuracy` was not run yet: there is no JSON")
@pytest.mark.parametrize(
    ("path", "summarise"),
    [(accuracy.README, accuracy_page.summary), (accuracy.REFERENCE, accuracy_page.reference_summary)],
    ids=["README", "reference"],
)
def test_the_documents_have_the_tables_of_the_committed_json(path, summarise):
    document, content = path.read_text(encoding="utf-8"), json.loads(accuracy.RESULTS.read_text(encoding="utf-8"))
    assert accuracy_page.with_summary(document, summarise(content), path.name) == document


def against_itself():
    """The content of a JSON with one kind of reference."""
    figures = {
        "auroc": [0.9, 0.01],
        "auroc_of_all": 0.92,
        "top_line_caused": [0.85, 0.1],
        "called_healthy": [None, None],
    }
    figures |= {"auroc_text": [0.95, 0.02], "recall": [0.5, 0.1], "called_normal": [0.012, 0.001]}
    figures |= {"faults_found": 9.6, "faults": 12.0, "text_faults_found": 7.0, "text_faults": 8.0}
    kind = {"draws": 5, "findings": {"faults_found": 9.6, "faults": 12.0}}
    kind["detectors"] = {"LogMoE": figures, "new template": {"auroc": [0.7, None]}}
    return {"parts": {"recordings": {"result": {"judged_against": {"self": kind}}}}}


def test_the_readmes_table_says_what_the_json_says():
    readme = f"# A\n\n{accuracy_page.BEGIN}\nold\n{accuracy_page.END}\n\nrest\n"
    summary = accuracy_page.summary(against_itself())
    written = accuracy_page.with_summary(readme, summary, "README.md")
    assert written.startswith(f"# A\n\n{accuracy_page.BEGIN}\n\n|  | the log itself |")
    assert written.endswith(f"{accuracy_page.END}\n\nrest\n")
    for line in ("| LogMoE | **0.900** |", "| new template | 0.700 |", "| faults told | 10 of 12 |"):
        assert line in written.splitlines()
    assert accuracy_page.with_summary(written, summary, "README.md") == written
    with pytest.raises(ValueError, match="x.md has no lines"):
        accuracy_page.with_summary("# A\n", summary, "x.md")


def test_the_table_on_references_says_what_the_json_says():
    summary = accuracy_page.reference_summary(against_itself())
    told = dict(cells_of(summary, "`self`: nothing but the log itself: its other blocks"))
    assert (
        told | {"AUROC": "0.900 ± 0.010", "first draw": "0.920", "text": "0.950", "order": "", "boosting": ""} == told
    )
    assert (told["windows found"], told["text faults found"]) == ("0.50", "7 of 8")
    assert told["top line caused by the fault"] == "0.85"


def test_figures_of_two_draws_by_hand():
    """Of four windows two are anomalous, each of a fault of its own; one draw of one service ranks them last."""

    def step(scores, is_called):
        score = np.array([*scores, 0.0])  # and a healthy run's, of one window
        arrays = {"run": np.zeros(5, int), "is_twin": np.arange(5) == 4, "label": np.array([0, 1, 0, 1, 0])}
        arrays |= {"visible": np.array([0, 1, 0, 2, 0]), "is_called": np.array([*is_called, False])}
        arrays |= {"top_is_caused": np.array([-1, 1, -1, -1, -1]), "score/LogMoE": score, "score/PCA on counts": score}
        return arrays | {"threshold/PCA on counts": np.full(5, 0.5)}

    good, bad = step((0.1, 0.9, 0.2, 0.8), (0, 1, 0, 0)), step((0.9, 0.1, 0.8, 0.2), (1, 0, 0, 0))
    arrays = [good, good, good, bad]
    keys = [{"service": name, "reference": "self", "draw": draw} for name in "ab" for draw in (0, 1)]
    faults = [{"run": "x", "fault": "f", "visible": "text", "windows": [1]}, {"visible": "order", "windows": [3]}]
    findings = {"of_faults": 2, "others": 1, "faults": 2, "faults_found": 1, "lines": 1000, "twin": 0, "twin_lines": 0}
    records = [{"runs": ["x"], "faults": faults, "findings": findings}] * 4
    kept = accuracy_store.Kept(keys, records, lambda place: arrays[place])
    figures = accuracy_unseen.summarise(kept)["judged_against"]["self"]
    of, rival = figures["detectors"]["LogMoE"], figures["detectors"]["PCA on counts"]
    assert of["auroc"] == pytest.approx([0.75, np.std([1, 0.5], ddof=1)])
    assert of["auroc_of_all"] == 1.0
    assert (of["faults"], of["faults_found"]) == (4, 1.5)  # of both services, in the mean of the draws
    assert (of["text_faults"], of["text_faults_found"]) == (2, 1.5)
    assert (rival["faults_found"], rival["text_faults_found"]) == (3, 1.5)
    assert figures["findings"]["others_per_2000_lines"] == 2


def test_short_healthy_logs_are_judged_each_for_itself():
    """Of a run of ten entries three logs of three; of two references one is missing."""
    run, calls = SimpleNamespace(parsed=Taken(range(10))), []
    margins = iter(([-1.0, 2.0], [-1.0, -2.0], [0.0]))

    def judge(logs, batch_size, reference):
        calls.extend((list(log), reference) for log in logs)
        return [SimpleNamespace(evidence=SimpleNamespace(margins=np.array(next(margins)))) for _ in logs]

    recorded = SimpleNamespace(
        twins=[run, SimpleNamespace(parsed=Taken(range(10)))],
        reference=lambda of, kind, draw: "healthy" if of is run else None,
        prepare=lambda parsed: parsed,
    )
    bench = SimpleNamespace(pipe=SimpleNamespace(_forward=judge), recorded=lambda _: recorded)
    key = {"service": "a", "entries": 3}
    record, _ = accuracy_short.measure(bench, key)
    assert calls == [([0, 1, 2], "healthy"), ([3, 4, 5], "healthy"), ([7, 8, 9], "healthy")]
    assert record == {"logs": 3, "called_logs": 2, "sequences": 5, "called": 2}
    nothing = dict.fromkeys(record, 0)
    kept = accuracy_store.Kept([key, key | {"service": "b"}], [record, nothing], lambda _: {})
    result = accuracy_short.summarise(kept)
    (row,) = result["rows"]
    assert (row["logs"], row["called"], row["called_logs"]) == (3, 0.4, pytest.approx(2 / 3))
    assert row["services"] == {"a": pytest.approx(2 / 3)}
    (_, told) = accuracy_page.short(result)
    assert [cell for _, cell in cells_of(told, "3")] == ["3", "3", "0.400", "0.667", "0.667"]


class Taken(list):
    """A log as a list."""

    def take(self, positions):
        return [self[place] for place in positions]


def test_mutual_information_by_hand():
    same, other = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    assert mutual_information(same, same) == pytest.approx(1)
    assert mutual_information(same, other) == pytest.approx(0)


def healthy_run(windows, days, called, kept_rate):
    return {"windows": windows, "days": days, "called": called, "kept_rate": kept_rate}


def test_false_alarms_a_day_by_hand():
    # Two draws of one run of a quarter of a day: 2 and 4 alarms.
    steps = [[healthy_run(100, 0.25, 2, 0.01)], [healthy_run(100, 0.25, 4, 0.03)]]
    (row,) = per_day.row_of("a", steps)
    assert (row["called"], row["realised"], row["windows"], row["days"]) == (3, 12, 100, 0.25)
    assert row["kept"] == pytest.approx(0.02 * 100 / 0.25)
    assert row["interval"] == pytest.approx([0.6187 / 0.25, 8.7673 / 0.25], rel=1e-3)  # of 3, by the tables
    assert per_day.count_interval(0) == (0.0, pytest.approx(3.689, abs=1e-3))
    assert per_day.row_of("b", [[], []]) == []
    page = accuracy_page.per_day({"rows": [row]})
    assert "| a | 6.00 | 100 | 0.0200 | 8 | 3.0 | 12 | 2 to 35 |" in page[1]


def test_of_references_that_do_not_fit_it_is_counted_where_the_product_says_so():
    def row(reference, called, familiarity):
        return {"reference": reference, "windows": 10, "called": called, "kept": 0.02, "familiarity": familiarity}

    records = [
        {"rows": [row("own", 0.0, 0.9), row("own", 0.02, 1.0), row("another service's", 0.9, 0.0)]},
        {"rows": [row("own", 0.2, 0.9)]},  # and nothing is said
    ]
    keys = [{"service": "apache"}, {"service": "redis"}]
    result = drift.summarise(accuracy_store.Kept(keys, records, lambda _: {}))
    fits, wrong, silent = result["rows"]
    assert (fits["called"], fits["familiarity"], fits["warned"]) == (0.01, 0.95, 0.0)
    assert (wrong["warned"], silent["warned"]) == (1.0, 0.0)
    assert (wrong["is_trained_on"], silent["is_trained_on"]) == (False, True)
    page = "\n".join(accuracy_page.drift(result))
    assert "| redis (trained on) | own | 2.0% | 20.0% | 90.0% | 0% |" in page
    assert "said so in 1 of 2 cases; silent: redis." in page
    assert "in 0 of 1." in page


def test_a_service_left_out_is_judged_by_a_network_that_never_saw_it(monkeypatch):
    learned_from, number_of = [], left_out.NAMES.index

    def fit(model, episodes, *_, **__):
        learned_from.append(set(episodes.service.tolist()))
        with torch.no_grad():
            model.classification_head.classifier.bias.fill_(7.0)

    class Shared(SimpleNamespace):
        __hash__ = object.__hash__

        def take(self, rows):
            return Shared(service=self.service[rows])

    options = accuracy.parse(["--draws", "1"])
    pipe = accuracy.load_pipeline(options.model, device="cpu", pipeline_class=accuracy.RememberingPipeline)
    episodes = Shared(service=np.repeat(np.arange(len(left_out.NAMES)), 3))
    bench = Shared(options=options, pipe=pipe, boosting=Shared(episodes=(episodes, None)))
    monkeypatch.setattr(left_out.general, "fit", fit)
    judged = []
    monkeypatch.setattr(left_out.accuracy_unseen, "measure", lambda shared, key: judged.append((shared, key)))
    keys = left_out.keys(options)
    assert {key["service"] for key in keys} == set(left_out.NAMES)
    assert not set(left_out.NAMES) & set(accuracy.corpus.TEST_ONLY)
    for key in keys:
        left_out.measure(bench, key)
        assert number_of(key["service"]) not in learned_from[-1]
        assert len(learned_from[-1]) >= len(left_out.NAMES) * 2 // 3
    assert len(learned_from) == options.groups  # each once, in the order of the keys
    weights = judged[0][0].pipe.model.state_dict()
    assert (weights["classification_head.classifier.bias"] == 7).all()
    encoder = {name: tensor for name, tensor in pipe.model.state_dict().items() if name.startswith("model.encoder.")}
    assert encoder
    assert all(torch.equal(weights[name], tensor) for name, tensor in encoder.items())


def cells_of(page, first):
    """The cells of a table's row by their headers, found by the first one."""
    lines = page.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    head = next(lines[number - 1] for number in range(place, 0, -1) if lines[number].startswith("| --- |"))
    return list(zip(*([cell.strip() for cell in line.split("|")[1:-1]] for line in (head, lines[place])), strict=True))


def test_the_page_shows_services_left_out():
    def figures(auroc):
        metrics = ("average_precision", "f1", "recall", "called_normal", "called_healthy", "top_line_caused")
        of = {name: [0.1 * number, 0] for number, name in enumerate(metrics, 1)}
        shown = {f"auroc_{kind}": [0.01 * number, 0] for number, kind in enumerate(("text", "order", "silence"), 1)}
        return of | shown | {"auroc": [auroc, 0.01], "faults_found": 7.0, "faults": 9.0}

    less = {accuracy_page.BOOSTING: {"difference": -0.02, "interval": [-0.03, -0.01]}}
    kind = {
        "draws": 5,
        "detectors": {accuracy_page.BOOSTING: figures(0.92), "LogMoE": figures(0.9)},
        "services": {"redis": [0.9, 0.01]},
        "logmoe_less": less,
        "findings": {"others_per_2000_lines": 1.5, "healthy_per_2000_lines": None},
    }
    page = "\n".join(accuracy_page.left_out({"services": ["redis"], "judged_against": {"earlier": kind}}))
    assert page.index("gradient boosting on LogMoE's features | 0.920 ± 0.010") < page.index("**LogMoE** | 0.900")
    assert cells_of(page, "earlier") == [
        ("LogMoE against", "earlier"),
        ("text", "0.010"),
        ("order", "0.020"),
        ("silence", "0.030"),
        ("average precision", "0.100"),
        ("F1", "0.200"),
        ("recall", "0.300"),
        ("normal called", "0.400"),
        ("healthy called", "0.500"),
        ("faults found", "7 of 9"),
        ("other findings in 2,000 lines", "1.50"),
        ("of healthy runs", ""),
        ("top line caused by the fault", "0.60"),
    ]
    assert "`earlier`: gradient boosting on LogMoE's features **-0.020 (-0.030 to -0.010)**" in page
    assert "| redis | 0.900 ± 0.010 |" in page


def test_the_page_shows_encoders_and_masks():
    parts = ("distance", "terms", "stack", "whole")
    aurocs = {
        part: dict.fromkeys(MEASURED, 0.1 * number) | {"self": 0.1 * number + 0.05}
        for number, part in enumerate(parts, 1)
    }
    keys = [{"layers": 0, "seed": seed} for seed in range(2)]
    later = {part: {kind: value + 0.02 for kind, value in of.items()} for part, of in aurocs.items()}
    records = [aurocs | {"entries_per_second": 5000.4}, later | {"entries_per_second": 1.0}]
    result = accuracy_encoders.summarise(accuracy_store.Kept(keys, records, lambda _: {}))
    page = "\n".join(accuracy_page.encoders(result))
    assert cells_of(page, "token embeddings alone")[1:] == [
        ("seeds", "2"),
        ("templates per second", "5,000"),
        ("distance alone, earlier", "0.110 ± 0.014"),
        ("distance alone, self", "0.160 ± 0.014"),
        ("terms, earlier", "0.210 ± 0.014"),
        ("terms, self", "0.260 ± 0.014"),
        ("stack, earlier", "0.310 ± 0.014"),
        ("stack, self", "0.360 ± 0.014"),
        ("whole, earlier", "0.410 ± 0.014"),
        ("whole, self", "0.460 ± 0.014"),
    ]
    readings = {"all": (20, 10), "times": (500, 400), "none": (900, 800)}
    counted = {name: {"distinct": one, "templates": other} for name, (one, other) in readings.items()}
    page = "\n".join(accuracy_page.masks({"redis": {"entries": 1000} | counted}))
    assert "2.0% with all masks, 50.0% with those of times alone, 90.0% with none" in page
    assert [cell for _, cell in cells_of(page, "redis")] == ["redis", "1,000", "20", "10", "500", "400", "900", "800"]


def test_masks_make_entries_recur():
    record, _ = accuracy_masks.measure(None, {"service": "redis"})
    assert record["all"]["distinct"] < 0.05 * record["entries"]
    assert record["all"]["distinct"] < record["times"]["distinct"] < record["none"]["distinct"]
    assert record["none"]["distinct"] > 0.9 * record["entries"]


def test_a_line_that_is_put_in_begins_as_its_neighbour():
    before = ["00:00:01 INFO a", "[Tue 24 03:19:04] [core:error] x", "00:00:02 WARN b"]
    assert accuracy_suspects.as_beside("10:20:30 INFO broken", before) == "00:00:01 INFO broken"
    assert accuracy_suspects.as_beside("10:20:30 ERROR broken", before) is None  # nine characters are too few
    assert accuracy_suspects.as_beside("[Tue 25 12:00:00] [proxy:error] y", before).startswith("[Tue 24 03:19:04] [p")


def test_a_fault_of_one_line_is_put_in_and_told(monkeypatch):
    monkeypatch.setattr(accuracy_suspects, "SIZES", (40,))
    monkeypatch.setattr(accuracy_suspects, "TRIES", 2)
    healthy = [f"10:00:{number % 60:02} INFO served page {number}" for number in range(400)]
    faulty = [{"line": "11:00:00 INFO the disk of this server is full", "label": 1}] * 3
    runs = {"twins": [SimpleNamespace(rows=[{"line": line} for line in healthy])]}
    recorded = SimpleNamespace(**runs, faulty=[SimpleNamespace(rows=faulty)])
    pipe = inference.load_pipeline(inference.DEFAULT_CHECKPOINT, device="cpu")
    bench = SimpleNamespace(pipe=pipe, recorded=lambda _: recorded)
    record, _ = accuracy_suspects.measure(bench, {"service": "a", "draw": 0})
    (row,) = record["rows"]
    assert (row["size"], row["tries"], row["suspect_kinds"]) == (40, 2, 0)
    assert row["told"] == 2
    kept = accuracy_store.Kept([{"service": "a", "draw": 0}], [record], lambda _: {})
    result = accuracy_suspects.summarise(kept)
    assert result["40"]["told"][0] == 1.0
    assert result["40"]["tries"] == 2
    (_, told) = accuracy_page.suspects(result)
    assert cells_of(told, "40")[:2] == [("lines of healthy log", "40"), ("lines put in", "2")]


def test_unmasked_means_are_those_of_services():
    """Each counts the same, however many runs it has; what is not known is left out."""

    def row(auroc):
        return {"auroc": auroc, "recall": auroc, "called_normal": 0.0, "familiarity": None}

    keys = [{"service": name, "masks": reading} for name in "ab" for reading in accuracy_masks.READINGS]
    runs = {"a": [row(0.5), row(0.7)], "b": [row(1.0), row(None)]}
    records = [{"earlier": runs[key["service"]], "self": runs[key["service"]]} for key in keys]
    result = accuracy_masks.summarise_unmasked(accuracy_store.Kept(keys, records, lambda _: {}))
    assert result["none"]["earlier"]["auroc"] == pytest.approx({"a": 0.6, "b": 1.0, "mean": 0.8})
    assert result["times"]["self"]["familiarity"] == {"a": None, "b": None, "mean": None}
    (_, told) = accuracy_page.unmasked(result)
    assert told.count("0.800") == 6


def test_encoders_begin_alike(tmp_path, monkeypatch):
    """A depth begins with the same weights, whatever was measured before it."""
    assert accuracy_encoders.keys(accuracy.parse([])) == []  # without an encoder
    options = accuracy.parse(["--encoder", str(make_encoder(tmp_path))])
    known = [(key["seed"], key["layers"]) for key in accuracy_encoders.keys(options)]
    assert known == [(seed, layers) for seed in accuracy_encoders.SEEDS for layers in accuracy_encoders.LAYERS]
    heads = []

    def leave_groups_out(new, *_):
        heads.append([new().classification_head.classifier.weight.detach() for _ in range(2)])
        nothing = np.zeros(2)
        return accuracy_encoders.general.Scores(nothing, nothing, np.zeros((2, 2)))

    episodes = SimpleNamespace(inputs=np.zeros((2, 500)))
    monkeypatch.setattr(accuracy_encoders.general, "measure", lambda *_: (episodes, None))
    monkeypatch.setattr(accuracy_encoders.general, "leave_groups_out", leave_groups_out)
    monkeypatch.setattr(accuracy_encoders, "read_service", lambda name: SimpleNamespace(templates=[name]))
    monkeypatch.setattr(accuracy_encoders, "mean_auroc", lambda *_: 0.5)
    for layers in (1, 0, 1):
        accuracy_encoders.measure(SimpleNamespace(options=options), {"layers": layers, "seed": 0})
    one, *others = heads[0] + heads[2]
    assert all(torch.equal(one, other) for other in others)
    with pytest.raises(ValueError, match="and 99 are needed"):
        accuracy_encoders.measure(SimpleNamespace(options=options), {"layers": 99, "seed": 0})


def test_labels_of_ones_own_from_a_file_to_the_page(tmp_path, pipe, monkeypatch):
    logs = make_logs(160)
    texts = pa.array(["\n".join(words) for words, _ in logs])
    pq.write_table(pa.table({"log_sequence": texts, "label": [label for _, label in logs]}), tmp_path / "tiny.parquet")
    short = (("max_sequence_length", 8), ("max_log_entry_length", 16))
    monkeypatch.setattr(labels, "LOGS", {"tiny": labels.Log("tiny", labels.read_table, "chronological", 80, 2, short)})
    monkeypatch.setattr(labels, "STEPS", 2)
    options = SimpleNamespace(data=tmp_path, work=tmp_path / "work")
    key = {"log": "tiny", "severity": "kept", "draw": 0}
    assert key in labels.keys(options)
    every_second = labels.read_table(tmp_path / "tiny.parquet").every(80)
    assert (len(every_second.texts), every_second.labels.sum()) == (80, 0)  # of a file where every second is anomalous
    monkeypatch.setattr(labels.Table, "every", lambda table, most: table)

    bench = SimpleNamespace(options=options, pipe=pipe, processor_clock=time.process_time)
    record, _ = labels.measure(bench, key)
    assert sum(record["sizes"].values()) == 160
    assert record["sizes"]["embargoed"] == 2 * 2  # before validation and before the test
    found = record["detectors"]
    assert set(found) == {labels.LOGMOE, labels.STACK, *labels.LEARNERS, labels.N_GRAMS, labels.LSTM}
    # Anomalous ones have an entry of their own: a word for some, a column for others, new for those that know normal.
    for name in ("bag of words, logistic regression", "decision tree on entry counts", labels.N_GRAMS):
        assert found[name]["all"]["auroc"] == found[name]["all"]["f1"] == 1
    assert 0 <= found[labels.LOGMOE]["all"]["auroc"] <= 1

    result = labels.summarise(accuracy_store.Kept([key], [accuracy_store.without_nan(record)], lambda place: {}))
    page = "\n".join(accuracy_page.labels(result))
    assert f"| tiny | kept | by time, with an embargo | 1 | {record['sizes']['train']} |" in page


def test_unseen_sequences_are_those_with_another_set_of_entries():
    store = labels.LogStore(None)
    index = store.add_sequences(np.arange(3), [np.array(rows) for rows in ([0, 1], [1, 0, 0], [0, 2], [2])])
    splits = {"train": labels.labelled(index[:1], np.zeros(1)), "test": labels.labelled(index[1:], np.zeros(3))}
    assert labels.unseen_sets(splits, store).tolist() == [False, True, True]


# ---------------------------------------------------------------------- leaks


def test_no_service_that_tests_is_trained_on():
    assert not set(training_services(corpus.SERVICES)) & set(corpus.TEST_ONLY)


@pytest.mark.parametrize("name", ["apache", "openssh", "redis"])
def test_no_reference_holds_the_judged_run_or_a_fault(name):
    """Train and test share no window: what a run is judged by is of other runs, none of them a test run."""
    service = read_service(name)
    for recording in service.recordings:
        for kind in ("earlier", "twin", "both"):
            others = [
                other
                for other in service.recordings
                if other.name != recording.name and other.settings == recording.settings and other.split != "test"
            ]
            reference = service.reference(recording, kind)
            if reference is None:
                continue
            # As many entries as the healthy stretches of these have, and no more.
            most = sum(
                len(other.text) if other.split == "twin" else sum(b - a for a, b in other.healthy_stretches())
                for other in others
                if (other.split == "twin") == (kind == "twin") or kind == "both"
            )
            assert len(reference) == most
    for recording in service.recordings:
        for start, end in recording.healthy_stretches():
            assert not recording.is_faulty[start:end].any()
    assert {"earlier", "twin", "both"} <= set(KINDS)


@pytest.mark.parametrize("name", ["apache", "mosquitto", "openssh", "postfix"])
def test_the_injectors_address_does_not_reach_the_model(name):
    """It stands in raw lines of faults alone; masked, as the model reads them, in none."""
    raw = masked = 0
    for run in read_runs(name, ("train", "test")):
        raw += sum(INJECTOR_ADDRESS in row["line"] for row in run.rows)
        masked += sum(INJECTOR_ADDRESS in text for text in run.parsed.distinct.to_pylist())
    assert raw > 0
    assert masked == 0
