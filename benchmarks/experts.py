"""Time of one layer's experts as a function of the mean number of active experts, at the default sizes.

Compares three forms side by side in one run: ours as it runs outside a compiled graph (only kept pairs are computed),
the dense form (every expert for every entry, then weighted), and transformers' own kernel for experts, `grouped_mm`,
which gets the other pairs marked as belonging to another device. (Its `batched_mm` copies a weight matrix for each
pair, 8.6 GB here.) The kept pairs are random, as many per entry as the row says.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from machine import describe
from transformers.integrations.moe import grouped_mm_experts_forward

from logmoe import LogMoEConfig
from logmoe.modeling_logmoe import LogMoEExperts

RESULTS = Path(__file__).parent / "results" / "experts.json"
ACTIVE = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


def routing(rows: int, num_experts: int, mean_active: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and kept mask, `(rows, num_experts)`: each row keeps the floor or the ceiling of `mean_active`."""
    low = int(mean_active)
    counts = low + (torch.rand(rows) < mean_active - low).long()
    rank = torch.rand(rows, num_experts).argsort(dim=1).argsort(dim=1)
    kept = rank < counts[:, None]
    return torch.rand(rows, num_experts).softmax(dim=1) * kept, kept


def dense(experts: LogMoEExperts, states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Every expert on every row in two large matrix products: the fastest dense form we know."""
    num_experts, inner_size, hidden_size = experts.up_proj.shape
    inner = experts.act_fn(F.linear(states, experts.up_proj.reshape(-1, hidden_size)))
    inner = inner.view(-1, num_experts, inner_size) * weights[..., None].to(inner.dtype)
    down = experts.down_proj.permute(0, 2, 1).reshape(-1, hidden_size)
    return inner.flatten(1) @ down


def library(
    experts: LogMoEExperts, states: torch.Tensor, weights: torch.Tensor, kept: torch.Tensor
) -> Callable[[], torch.Tensor]:
    """transformers' kernel; pairs that are not kept go to an expert that does not exist."""
    module = SimpleNamespace(
        num_experts=experts.num_experts,
        up_proj=experts.up_proj,
        down_proj=experts.down_proj,
        act_fn=experts.act_fn,
        has_gate=False,
        has_bias=False,
        is_transposed=False,
        has_post_expert_norm=False,
        _is_expert_parallel=True,
    )
    # As many columns as the row with the most kept experts needs.
    width = int(kept.sum(dim=1).max())
    order = weights.argsort(dim=1, descending=True)[:, :width]
    index = torch.where(kept.gather(1, order), order, experts.num_experts)
    top_weights = weights.gather(1, order).to(states.dtype)
    return lambda: grouped_mm_experts_forward(module, states, index, top_weights)


def measure(steps: list[Callable[[], object]], repetitions: int) -> list[float]:
    """Median milliseconds of each step; the steps take turns, so that a noisy moment hits them all."""
    times = []
    for _ in range(repetitions):
        row = []
        for step in steps:
            start = time.perf_counter()
            step()
            row.append((time.perf_counter() - start) * 1000)
        times.append(row)
    return [statistics.median(column) for column in zip(*times, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4096, help="entries (default: %(default)s)")
    parser.add_argument(
        "--repetitions", type=int, default=7, help="of each measurement; the median counts (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the JSON goes")
    args = parser.parse_args()

    print(f"{args.rows} entries, hidden size 512, experts of width 256, {torch.get_num_threads()} threads.")
    print("Microseconds per entry, medians: forward; forward and backward\n")
    print("| dtype | experts | active | sparse | dense | transformers | dense / sparse | transformers / sparse |")
    print("|---|---|---|---|---|---|---|---|")
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        for num_experts in (4, 8, 16):
            torch.manual_seed(0)
            config = LogMoEConfig(num_experts=num_experts)
            experts = LogMoEExperts(config)
            torch.nn.init.normal_(experts.up_proj, std=0.02)
            torch.nn.init.normal_(experts.down_proj, std=0.02)
            experts.to(dtype)
            states = torch.randn(args.rows, config.hidden_size).to(dtype)
            for mean_active in (active for active in ACTIVE if active <= num_experts):
                weights, kept = routing(args.rows, num_experts, mean_active)
                steps: dict[str, Callable[[], torch.Tensor]] = {
                    "sparse": lambda e=experts, w=weights, k=kept, s=states: e(s, w, k),  # type: ignore[misc]
                    "dense": lambda e=experts, w=weights, s=states: dense(e, s, w),  # type: ignore[misc]
                    "transformers": library(experts, states, weights, kept),
                }
                for step in steps.values():
                    close = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.05}
                    torch.testing.assert_close(step(), steps["sparse"](), **close)
                row = {
                    "dtype": str(dtype).removeprefix("torch."),
                    "num_experts": num_experts,
                    "mean_active_experts": float(kept.sum() / args.rows),
                }
                with torch.no_grad():
                    forward = measure(list(steps.values()), args.repetitions)
                both = measure(
                    [lambda step=step: step().float().sum().backward() for step in steps.values()],  # type: ignore[misc]
                    args.repetitions,
                )
                for name, ahead, whole in zip(steps, forward, both, strict=True):
                    row[f"{name}_forward_us"] = ahead * 1000 / args.rows
                    row[f"{name}_training_us"] = whole * 1000 / args.rows
                results.append(row)
                cells = [row["dtype"], str(num_experts), f"{row['mean_active_experts']:.1f}"]
                cells += [f"{row[f'{name}_forward_us']:.1f}; {row[f'{name}_training_us']:.1f}" for name in steps]
                for name in ("dense", "transformers"):
                    ratios = (row[f"{name}_{kind}_us"] / row[f"sparse_{kind}_us"] for kind in ("forward", "training"))
                    cells.append("; ".join(f"{ratio:.2f}" for ratio in ratios))
                print("| " + " | ".join(cells) + " |", flush=True)

    args.output.parent.mkdir(parents=True, exist_ok=True)
    settings = {"rows": args.rows, "repetitions": args.repetitions, "hidden_size": 512, "moe_intermediate_size": 256}
    args.output.write_text(
        json.dumps({"machine": describe(), "settings": settings, "results": results}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
