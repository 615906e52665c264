"""Time of one mixture-of-experts block against the mean number of active experts, at the default sizes.

Compares, side by side in one run, the experts as shipped (only kept pairs are computed) with the dense form (every
expert for every entry, then weighted). The kept pairs are drawn at random, so many per entry as a row asks for.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from machine import describe

from logmoe import LogMoEConfig
from logmoe.modeling_logmoe import LogMoEExperts

RESULTS = Path(__file__).parent / "results" / "experts.json"


def routing(rows: int, num_experts: int, mean_active: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and kept mask, `(rows, num_experts)`: each row keeps the floor or the ceiling of `mean_active`."""
    low = int(mean_active)
    counts = low + (torch.rand(rows) < mean_active - low).long()
    rank = torch.rand(rows, num_experts).argsort(dim=1).argsort(dim=1)
    kept = rank < counts[:, None]
    return torch.rand(rows, num_experts).softmax(dim=1) * kept, kept


def dense(experts: LogMoEExperts, states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Every expert on every row; those not kept have weight 0."""
    inner = experts.act_fn(torch.einsum("rh,eih->rei", states, experts.up_proj))
    return torch.einsum("rei,ehi,re->rh", inner, experts.down_proj, weights)


def dense_matmul(experts: LogMoEExperts, states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The same as two large matrix products, the fastest dense form known here."""
    num_experts, inner_size, hidden_size = experts.up_proj.shape
    inner = experts.act_fn(F.linear(states, experts.up_proj.reshape(-1, hidden_size)))
    inner = inner.view(-1, num_experts, inner_size) * weights[..., None].to(inner.dtype)
    down = experts.down_proj.permute(0, 2, 1).reshape(-1, hidden_size)
    return inner.flatten(1) @ down


def measure(step, repetitions: int) -> float:
    """Median milliseconds of a call."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4096, help="entries (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=15, help="the median of so many is taken")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the JSON goes")
    args = parser.parse_args()

    torch.manual_seed(0)
    config = LogMoEConfig()
    experts = LogMoEExperts(config)
    torch.nn.init.normal_(experts.up_proj, std=0.02)
    torch.nn.init.normal_(experts.down_proj, std=0.02)
    states = torch.randn(args.rows, config.hidden_size)

    rows = []
    for mean_active in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        weights, kept = routing(args.rows, config.num_experts, mean_active)

        def sparse(weights=weights, kept=kept):
            return experts(states, weights, kept)

        def full(weights=weights):
            return dense_matmul(experts, states, weights)

        torch.testing.assert_close(sparse(), dense(experts, states, weights), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(full(), sparse(), atol=1e-4, rtol=1e-4)
        row = {"mean_active_experts": mean_active}
        with torch.no_grad():
            # In turns, so that a noisy moment hits both.
            timings = [(measure(sparse, 1), measure(full, 1)) for _ in range(args.repetitions)]
        row["sparse_forward_ms"], row["dense_forward_ms"] = map(statistics.median, zip(*timings, strict=True))
        timings = [
            (measure(lambda: sparse().sum().backward(), 1), measure(lambda: full().sum().backward(), 1))
            for _ in range(args.repetitions)
        ]
        row["sparse_training_ms"], row["dense_training_ms"] = map(statistics.median, zip(*timings, strict=True))
        rows.append(row)

    print(f"{args.rows} entries, hidden size {config.hidden_size}, {config.num_experts} experts of width ", end="")
    print(f"{config.moe_intermediate_size}, float32, {torch.get_num_threads()} threads; milliseconds, medians\n")
    print("| mean active experts | forward | dense | dense / sparse | forward + backward | dense | dense / sparse |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [f"{row['mean_active_experts']:.1f}"]
        for kind in ("forward", "training"):
            sparse_ms, dense_ms = row[f"sparse_{kind}_ms"], row[f"dense_{kind}_ms"]
            cells += [f"{sparse_ms:.1f}", f"{dense_ms:.1f}", f"{dense_ms / sparse_ms:.2f}"]
        print("| " + " | ".join(cells) + " |")

    args.output.parent.mkdir(parents=True, exist_ok=True)
    settings = {"rows": args.rows, "repetitions": args.repetitions, "dtype": "float32"}
    args.output.write_text(json.dumps({"machine": describe(), "settings": settings, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
