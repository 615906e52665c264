"""Trains LogMoE on labelled logs: `accelerate launch train.py --train_file logs.jsonl --encoder … --output_dir …`.

From data to a published checkpoint: read and split; encode each distinct entry once; train in two phases, first with
every expert at equal weight, then with Top-P routing; fit temperature and threshold on validation data; measure beside
simple baselines; save with card and plots; push. What each step needs is in `training/`.
"""

import dataclasses
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from huggingface_hub.errors import StrictDataclassError
from transformers import set_seed
from transformers.utils import logging as transformers_logging

from logmoe import LogAnomalyPipeline, LogMoEForSequenceClassification, LogMoEProcessor
from logmoe.console import visible_lines
from logmoe.judging_logmoe import anomaly_probability
from logmoe.masks_logmoe import MASKS, SEVERITY_MASK
from logmoe.training.arguments import (
    DataArguments,
    LogMoETrainingArguments,
    ModelArguments,
    arguments_of_file,
    make_parser,
    recorded_arguments,
)
from logmoe.training.baselines import measure_baselines
from logmoe.training.batches import DistinctLogs, LogCollator, TrainingVisits
from logmoe.training.embeddings import EmbeddingCache
from logmoe.training.logs import LabelledLogs, LogStore, SeenLog, samples_in_words
from logmoe.training.metrics import detection_metrics, fit_calibration, fit_threshold
from logmoe.training.plots import draw_plots
from logmoe.training.references import FEATURES, SMALLEST_SPREAD, SeenSplits, fit_reference, see
from logmoe.training.report import check_template, push, render_card, results_table, spread
from logmoe.training.run_folder import RESULTS, TRAINER_STATE, RunFolder, complete_checkpoints, write_json
from logmoe.training.splits import Splits, facts_in_words, read_splits, require_both_labels, split_facts
from logmoe.training.trainer import LogMoETrainer, StopOnSignal, StoppedBySignal, TwoPhases
from logmoe.training.words import Words, with_words

logger = logging.getLogger("logmoe.train")

# Of the training data, by which the projection is whitened.
WHITENED_ENTRIES = 4096

EXIT_ERROR = 2
EXIT_SIGNAL = 128  # And the number of the signal: as the shell reports a process that one ended.


class Stopwatch:
    """Where the time goes: seconds of each stage, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def train(model_args: ModelArguments, data_args: DataArguments, args: LogMoETrainingArguments) -> dict[str, Any]:
    """Trains, measures and saves a complete checkpoint in `args.output_dir`.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError: data or arguments that cannot be trained on.
        FileExistsError: the output folder is in use.
        OSError: a checkpoint that cannot be saved; the last complete one is left as it was.
        FloatingPointError: a loss or logits that are not finite.
        StoppedBySignal: SIGTERM or SIGINT stopped the training, after a checkpoint was saved.
    """
    if args.n_gpu > 1:
        raise ValueError(
            f"One process cannot train on {args.n_gpu} GPUs: start one process per GPU with `accelerate launch "
            "train.py …`, or choose a GPU with CUDA_VISIBLE_DEVICES."
        )
    phases = TwoPhases(model_args.dense_share)
    if data_args.model_card is not None:
        check_template(data_args.model_card)
    arguments = recorded_arguments(model_args, data_args, args)
    folder = RunFolder(Path(args.output_dir), args.resume_from_checkpoint, args.overwrite_output_dir)
    is_main = args.process_index == 0
    try:
        _by_main_process(lambda: folder.check(model_args.encoder, arguments))
        return _train_in(folder, model_args, data_args, args, phases, arguments, is_main)
    finally:
        folder.release()


def _by_main_process(step: Callable[[], None]) -> None:
    """Runs a step in the main process; what it raises is raised in all, for none may wait for one that has ended."""
    errors: list[Exception | None] = [None]
    if PartialState().is_main_process:
        try:
            step()
        except Exception as error:
            errors = [error]
    broadcast_object_list(errors)
    if errors[0] is not None:
        raise errors[0]


def _train_in(
    folder: RunFolder,
    model_args: ModelArguments,
    data_args: DataArguments,
    args: LogMoETrainingArguments,
    phases: TwoPhases,
    arguments: dict[str, dict[str, Any]],
    is_main: bool,
) -> dict[str, Any]:
    """Trains in a folder that was checked; see `train`."""
    clock = Stopwatch()

    # ------------------------------------------------------------------ data
    with clock("read"):
        processor = new_processor(model_args, data_args)
        store = LogStore(processor)
        splits = read_splits(data_args, store)
        require_both_labels(splits)
    visits = TrainingVisits(splits["train"], store, data_args, args.seed)
    facts = split_facts(splits, store)
    facts["train"] |= {"distinct_labelled_logs": visits.num_distinct, "visits_per_epoch": len(visits)}
    folder.check_split(facts)
    logger.info(facts_in_words(facts))
    logger.info(samples_in_words(splits["train"], store))

    # ------------------------------------------------------------------ model
    with clock("embed"):
        set_seed(args.seed)
        model = new_model(model_args, processor)
        collator = LogCollator(processor, processor.max_sequence_length)
        # Needed in any case: it refuses a processor and a model that do not fit, now rather than after training.
        pipe = LogAnomalyPipeline(model.eval(), processor=processor, device=args.device)
        seen: SeenSplits | None = None
        entries = training_entries(splits["train"], store)
        words: Words | None = None
        token_ids: list[list[int]] = []
        if model.word_term is not None or not model_args.encoder_is_frozen:
            token_ids, truncated = processor.tokenize(store.texts)
            logger.info("%d distinct entries, %d of them truncated", len(truncated), truncated.sum())
        if model.word_term is not None:
            words = Words.fit(splits["train"], store, processor, token_ids)
            words.put_into(model)
        if not model_args.encoder_is_frozen:
            collator.token_ids = token_ids
            embeds = pipe.predictor.embed([token_ids[row] for row in entries])
        else:
            cache = EmbeddingCache(pipe.predictor, model_args.embedding_cache)
            with args.main_process_first(desc="encoding the distinct entries"):
                if model_args.sees_reference:
                    seen = see(splits, store, fit_reference(splits["train"], store, model), cache.embeddings_of)
                collator.embeds = cache.embeddings_of(store.texts) if seen is None else seen.embeds
                embeds = collator.embeds[entries]
            if words is not None:
                collator.embeds = with_words(collator.embeds, model, processor, token_ids)
    if seen is not None:
        logger.info("the reference of normal training logs: %s", seen.reference)
        visits.seen = seen.train

    # ------------------------------------------------------------------ train, calibrate and measure, for each seed
    _by_main_process(lambda: folder.start(model_args.encoder, arguments, facts))
    push_to_hub, args.push_to_hub = args.push_to_hub, False  # We push once, at the end, with our card.
    if "validation" not in splits:
        args.eval_strategy, args.load_best_model_at_end = "no", False
    held_out = None if seen is None else seen.held_out
    seeds: dict[int, dict[str, Any]] = {}
    with StopOnSignal() as stop:
        # The first seed comes last, so that its model is at hand to be published.
        for seed in range(args.seed + args.num_seeds - 1, args.seed - 1, -1):
            is_first = seed == args.seed
            seed_folder = folder.of_seed(seed, is_first)
            if (finished := folder.results_in(seed_folder)) is not None:
                seeds[seed] = finished
                continue
            if args.num_seeds > 1:
                set_seed(seed)
                model = new_model(model_args, processor)
            prepare(model, embeds, seen, words)
            visits.seed = seed
            of_seed: dict[str, Any] = {"output_dir": str(seed_folder), "seed": seed}
            trainer = LogMoETrainer(
                model=model,
                args=dataclasses.replace(args, **of_seed),
                train_dataset=visits,
                eval_dataset=DistinctLogs(splits["validation"], store, held_out) if "validation" in splits else None,
                data_collator=collator,
                processing_class=processor,
                callbacks=[phases],
                stop=stop,
            )
            checkpoint = folder.checkpoint_in(seed_folder)
            if checkpoint is not None:
                logger.info("continuing from %s", checkpoint)
            with clock("train"):
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if stop.stopped:
                raise StoppedBySignal(stop.received or signal.SIGTERM, complete_checkpoints(seed_folder)[-1])
            with clock("measure"):
                seeds[seed], scores = calibrate_and_measure(
                    trainer, splits, store, data_args.false_positive_rate, held_out
                )
            if is_main and not is_first:
                write_json(seeds[seed], seed_folder / RESULTS)

    results: dict[str, Any] = {"split": facts, "seeds": dict(sorted(seeds.items())), "seconds": clock.seconds}
    results |= seeds[args.seed] | {"spread": spread(list(results["seeds"].values()))}
    if seen is not None:
        results["reference"] = seen.facts()

    # ------------------------------------------------------------------ save
    state_dict = finish_model(trainer, results["offset"], model_args.lora)
    if not is_main:  # What follows may take longer than the others would wait.
        return results
    if data_args.baselines and "test" in splits:
        with clock("baselines"):
            results["baselines"] = measure_baselines(splits, store)
    with clock("save"):
        # The weights first: whatever goes wrong with plots or card, they are there.
        reference = None if seen is None else seen.reference
        folder.save_checkpoint(LogAnomalyPipeline(model.eval(), processor=processor), state_dict, reference)
        trainer.state.save_to_json(str(folder.path / TRAINER_STATE))
        captions = draw_plots(
            folder.path,
            trainer.state.log_history,
            phases.first_top_p_step(trainer.state.max_steps),
            {name: (splits[name].labels, scores[name]) for name in scores},
            model.config,
        )
        folder.save_card(render_card(data_args, model, results, arguments, captions, folder.path))
    write_json(results, folder.path / RESULTS)
    print(results_table(results))
    seconds = ", ".join(f"{stage} {time:.0f} s" for stage, time in clock.seconds.items())
    logger.info("%s\nsaved in %s", seconds, folder.path)

    # ------------------------------------------------------------------ push
    if push_to_hub:
        if seen is not None and not args.push_reference:
            logger.warning(
                "The reference is not pushed, for it holds masked text of training logs: without it the checkpoint "
                "judges otherwise than was measured. `--push_reference` pushes it."
            )
        name = args.hub_model_id or folder.path.resolve().name
        push(folder, name, args.hub_token, args.hub_private_repo, args.push_reference)
    return results


def new_processor(model_args: ModelArguments, data_args: DataArguments) -> LogMoEProcessor:
    """The encoder's tokenizer with the rules of the arguments, which the checkpoint keeps for serving."""
    return LogMoEProcessor.from_encoder_pretrained(
        model_args.encoder,
        max_log_entry_length=model_args.max_log_entry_length,
        max_sequence_length=model_args.max_sequence_length,
        session_pattern=data_args.session_pattern,
        masks=[*MASKS, SEVERITY_MASK] if model_args.hide_severity else None,
    )


def new_model(model_args: ModelArguments, processor: LogMoEProcessor) -> LogMoEForSequenceClassification:
    """A new model on the pretrained encoder, which is frozen, trained, or given adapters."""
    model = LogMoEForSequenceClassification.from_encoder_pretrained(
        model_args.encoder,
        processor=processor,
        **model_args.config(),
        **(FEATURES if model_args.sees_reference else {}),
    )
    if not model_args.train_encoder:
        model.freeze_encoder()
    if model_args.lora:
        try:
            from peft import LoraConfig, LoraModel
        except ImportError as error:
            raise ValueError("`--lora` needs PEFT: pip install 'logmoe[train,lora]'.") from error
        config = LoraConfig(r=model_args.lora_rank, lora_alpha=2 * model_args.lora_rank, target_modules="all-linear")
        # Adds the adapters to the encoder in place; kept to merge them at the end.
        object.__setattr__(model.model, "encoder_adapter", LoraModel(model.model.encoder, config, "default"))
    return model


def training_entries(logs: LabelledLogs, store: LogStore) -> np.ndarray:
    """Rows of the store that training logs have, ascending; `WHITENED_ENTRIES` at most, evenly chosen."""
    rows = np.unique(np.concatenate([store.distinct_logs[log] for log in np.unique(logs.distinct_log)]))
    return rows[:: -(-len(rows) // WHITENED_ENTRIES)]


def prepare(
    model: LogMoEForSequenceClassification, embeds: torch.Tensor, seen: SeenSplits | None, words: Words | None
) -> None:
    """What a new model takes from the training data before the first step.

    Args:
        model: a new one.
        embeds: `(entries, encoder_hidden)`, of training entries.
        seen: the logs as seen through a reference; None without one.
        words: what words speak for; None without a term of words.
    """
    model.whiten_projection(embeds)
    if seen is not None:
        seen.set_statistics(model)
    if words is not None:
        words.put_into(model)


def calibrate_and_measure(
    trainer: LogMoETrainer,
    splits: Splits,
    store: LogStore,
    false_positive_rate: float | None,
    seen: dict[int, SeenLog] | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fits temperature, offset and threshold on validation data, sets them in the config, and measures.

    Args:
        seen: the logs of all splits but training as seen through a reference; None without one.

    Returns:
        One seed's figures for `results.json`, and the probability of anomaly `(logs,)` in each split but training.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.set_routing_mode("top_p")
    config, offset = model.config, 0.0
    margins = {
        name: trainer.predict_margins(DistinctLogs(logs, store, seen))
        for name, logs in splits.items()
        if name != "train"
    }
    if "validation" in margins:
        labels = splits["validation"].labels
        config.calibration_temperature, offset = fit_calibration(labels, margins["validation"])
        margins = {name: margin + offset for name, margin in margins.items()}
        config.anomaly_threshold = fit_threshold(
            labels, margins["validation"], config.calibration_temperature, false_positive_rate
        )
        if seen is not None:  # What a margin means where a log is judged against another reference, or itself.
            center, high = np.quantile(margins["validation"][labels == 0], (0.5, 0.99))
            config.reference_scale = [float(center), max(float(high - center), SMALLEST_SPREAD)]
    figures: dict[str, Any] = {
        "temperature": config.calibration_temperature,
        "threshold": config.anomaly_threshold,
        "offset": offset,  # Of the margin; `finish_model` adds it to the head's bias.
        "best_step": trainer.state.best_global_step if trainer.args.load_best_model_at_end else None,
        "steps": trainer.state.global_step,
    }
    scores = {name: anomaly_probability(margin, config.calibration_temperature) for name, margin in margins.items()}
    for name in scores:
        slices = {"all": np.ones(len(splits[name]), dtype=bool), "unseen": splits.unseen(name)}
        figures[name] = {
            slice_name: detection_metrics(splits[name].labels[chosen], scores[name][chosen], config.anomaly_threshold)
            if chosen.any()
            else None
            for slice_name, chosen in slices.items()
        }
    return figures, scores


def finish_model(trainer: LogMoETrainer, offset: float, lora: bool) -> dict[str, torch.Tensor] | None:
    """Makes the trained model the one to be saved: adapters merged, the margin's offset in the bias.

    Returns:
        The weights, if FSDP shards them over processes; None otherwise: the model has them.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if lora:
        model.model.encoder = model.model.encoder_adapter.merge_and_unload()
        del model.model.encoder_adapter
    state_dict = trainer.accelerator.get_state_dict(trainer.model_wrapped) if trainer.is_fsdp_enabled else None
    trainer.accelerator.wait_for_everyone()
    model.set_routing_mode("top_p")
    shift = torch.tensor([-offset / 2, offset / 2])
    if state_dict is None:
        bias = model.classification_head.classifier.bias
        bias.data += shift.to(bias)
    elif trainer.accelerator.is_main_process:  # Only the main process has them.
        state_dict["classification_head.classifier.bias"] += shift
    return state_dict


class VisibleFormatter(logging.Formatter):
    """What is logged, such as names of files, without what could control a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record).expandtabs())


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `train.py` and of the console script `logmoe-train`; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0].endswith((".yaml", ".yml", ".json")):
            argv = arguments_of_file(argv[0]) + argv[1:]
        model_args, data_args, args = make_parser("--help_all" in argv).parse_args_into_dataclasses(args=argv)
    except (ValueError, OSError) as error:  # TrainingArguments checks what the machine can do.
        print(f"error: {visible_lines(str(error))}", file=sys.stderr)
        return EXIT_ERROR
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO if args.should_log else logging.WARNING, handlers=[handler])
    transformers_logging.disable_progress_bar()  # Of loading and saving; the Trainer's own stays.
    try:
        train(model_args, data_args, args)
    except (ValueError, StrictDataclassError, FileNotFoundError, FileExistsError) as error:
        if args.process_index == 0:  # All processes read the same.
            print(f"error: {visible_lines(str(error))}", file=sys.stderr)
        return EXIT_ERROR
    except (OSError, FloatingPointError) as error:
        print(f"error: {visible_lines(str(error))}", file=sys.stderr)
        return EXIT_ERROR
    except StoppedBySignal as stop:
        if args.process_index == 0:
            print(visible_lines(str(stop)), file=sys.stderr)
        return EXIT_SIGNAL + stop.number
    except KeyboardInterrupt:
        print("interrupted; what was saved before is complete, continue with `--resume`.", file=sys.stderr)
        return EXIT_SIGNAL + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
