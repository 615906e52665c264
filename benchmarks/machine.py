"""Describes the machine that a benchmark ran on, for its JSON."""

import platform
from pathlib import Path
from typing import Any

import torch
import transformers


def describe() -> dict[str, Any]:
    """Processor, threads and versions."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _processor() -> str:
    """The processor's name as the kernel gives it, and those of its extensions that matter here."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    text = cpuinfo.read_text()
    name = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    extensions = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in text.split()]
    return f"{name}, {', '.join(extensions)}"
