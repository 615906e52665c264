"""`train.py` that sends itself a signal in the midst of the step that STOP_AT says, as `SIGTERM:7`."""

import os
import signal
import sys

from transformers import TrainerCallback

from logmoe import train
from logmoe.training.trainer import LogMoETrainer


class Stop(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        name, step = os.environ["STOP_AT"].split(":")
        if state.global_step + 1 == int(step):
            os.kill(os.getpid(), signal.Signals[name])


class StoppingTrainer(LogMoETrainer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_callback(Stop())


def main():
    train.LogMoETrainer = StoppingTrainer
    return train.main(sys.argv[1:])
