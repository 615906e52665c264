"""Runs train.py under FSDP on CPU processes, for the tests.

accelerate turns FSDP on for accelerators alone and, on CPUs, falls back to DDP without a word. The collectives of gloo
do all that FSDP asks for, so the processes are told that they are no CPU processes, and nothing else is changed.
"""

import sys

from accelerate import DistributedType, PartialState
from accelerate.state import AcceleratorState

from logmoe.train import main

init = AcceleratorState.__init__


def pretend(self, *args, **kwargs):
    if PartialState._shared_state.get("distributed_type") == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    init(self, *args, **kwargs)


if __name__ == "__main__":
    AcceleratorState.__init__ = pretend
    sys.exit(main())
