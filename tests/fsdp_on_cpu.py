"""Runs train.py under FSDP in CPU processes, for the tests.

accelerate enables FSDP only on accelerators and silently falls back to DDP on CPUs, although gloo has every collective
that FSDP needs. So the processes claim to run on GPUs; nothing else is changed.
"""

import sys

from accelerate import DistributedType, PartialState
from accelerate.state import AcceleratorState

from logmoe import train

init = AcceleratorState.__init__


def pretend(self, *args, **kwargs):
    if PartialState._shared_state.get("distributed_type") == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    init(self, *args, **kwargs)


def main() -> int:
    AcceleratorState.__init__ = pretend
    return train.main()


if __name__ == "__main__":
    sys.exit(main())
