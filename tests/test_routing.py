"""The Top-P router and the experts: answers worked out by hand, properties, and a naive loop as reference."""

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from logmoe.modeling_logmoe import LogMoEExperts, LogMoESparseMoeBlock, LogMoETopPRouter, router_statistics, top_p_mask

# Probabilities are sums of powers of two, so their float32 sums are exact and the boundary cases are what they seem.
KNOWN = [
    # probabilities, top_p, kept
    ([0.5, 0.25, 0.125, 0.125], 0.8, [1, 1, 1, 0]),  # 0.5, 0.75 < 0.8: the third crosses and is kept
    ([0.125, 0.5, 0.125, 0.25], 0.8, [1, 1, 0, 1]),  # the same out of order; of equals, the lower index wins
    ([0.875, 0.0625, 0.0625, 0.0], 0.8, [1, 0, 0, 0]),  # the first alone reaches top_p
    ([0.25, 0.25, 0.25, 0.25], 0.75, [1, 1, 1, 0]),  # reaching top_p exactly is enough: 0.75 < 0.75 is false
    ([0.25, 0.25, 0.25, 0.25], 0.751, [1, 1, 1, 1]),
    ([0.0, 0.0, 0.0, 1.0], 0.8, [0, 0, 0, 1]),  # the last expert can be kept
    ([0.0, 0.0, 0.0, 1.0], 1.0, [1, 1, 1, 1]),  # top_p 1 is dense, whatever the rounding
    ([0.5, 0.5, 0.0, 0.0], 1e-9, [1, 0, 0, 0]),  # tiny top_p is top-1, ties by index
]


@pytest.mark.parametrize(("probs", "top_p", "kept"), KNOWN)
def test_known_answers(probs, top_p, kept):
    assert top_p_mask(torch.tensor([probs]), top_p).int().tolist() == [kept]


rows = npst.arrays(
    "float32", st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.floats(-6, 6, width=32)
).map(lambda logits: torch.from_numpy(logits).softmax(dim=-1))
top_ps = st.floats(0.001, 1.0)


@given(rows, top_ps)
def test_kept_experts_are_the_smallest_leading_set_that_reaches_top_p(probs, top_p):
    kept = top_p_mask(probs, top_p)
    assert kept.any(dim=-1).all()
    if top_p == 1.0:
        assert kept.all()
        return
    for p, k in zip(probs.double(), kept, strict=True):
        mass = p[k].sum()
        assert mass >= top_p - 1e-6 or k.all()
        assert mass - p[k].min() < top_p + 1e-6  # without the last kept expert, top_p is not reached
        if not k.all():
            assert p[k].min() >= p[~k].max()


@given(rows)
def test_tiny_top_p_is_top_1(probs):
    kept = top_p_mask(probs, 1e-6)
    assert (kept.sum(dim=-1) == 1).all()
    assert torch.equal(kept.int().argmax(dim=-1), probs.argmax(dim=-1))


@given(rows, top_ps)
def test_more_mass_keeps_more_experts(probs, top_p):
    fewer, more = top_p_mask(probs, top_p / 2), top_p_mask(probs, top_p)
    assert (more | ~fewer).all()


@given(rows, top_ps, st.randoms())
def test_permuting_experts_permutes_the_routing(probs, top_p, random):
    order = list(range(probs.shape[-1]))
    random.shuffle(order)
    for row in probs:
        if len(set(row.tolist())) == len(row):  # ties are broken by index, by design
            assert torch.equal(top_p_mask(row[None, order], top_p), top_p_mask(row[None], top_p)[:, order])


def make_block(**overrides) -> LogMoESparseMoeBlock:
    torch.manual_seed(0)
    config = tiny_config(**overrides)
    block = LogMoESparseMoeBlock(config)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return block


def naive_mixture(experts: LogMoEExperts, states, weights, kept):
    """The reference: every row, every expert, one at a time."""
    output = torch.zeros_like(states)
    for row in range(len(states)):
        for expert in range(experts.num_experts):
            if kept[row, expert]:
                inner = F.gelu(experts.up_proj[expert] @ states[row])
                output[row] = output[row] + weights[row, expert] * (experts.down_proj[expert] @ inner)
    return output


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("form", ["_one_by_one", "_grouped_by_expert"])
def test_experts_equal_a_naive_loop_forward_and_backward(form, top_p):
    block = make_block(router_top_p=top_p)
    states = torch.randn(11, 32)
    results = []
    for compute in (lambda *a: naive_mixture(block.experts, *a), getattr(block.experts, form)):
        x = states.clone().requires_grad_()
        _, weights, kept = block.router(x)
        kept = kept & (torch.arange(11) % 4 > 0)[:, None]  # some rows are padding
        block.zero_grad()
        output = compute(x, weights, kept)
        (output * torch.linspace(-1, 1, 32)).sum().backward()
        results.append([output, x.grad, *(p.grad.clone() for p in block.parameters())])
    for naive, ours in zip(*results, strict=True):
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, naive, atol=1e-5, rtol=1e-5)


class PoisonedGroupedMm(torch.autograd.Function):
    """Leaves NaN beyond the groups, forward and backward, where the real kernel leaves whatever memory held."""

    @staticmethod
    def forward(ctx, states, weight, group_ends):
        ctx.save_for_backward(states, weight)
        ctx.groups = list(zip([0, *group_ends.tolist()], group_ends.tolist(), strict=False))
        output = torch.full((len(states), weight.shape[2]), float("nan"))
        for expert, (start, end) in enumerate(ctx.groups):
            output[start:end] = states[start:end] @ weight[expert]
        return output

    @staticmethod
    def backward(ctx, gradient):
        states, weight = ctx.saved_tensors
        to_states, to_weight = torch.full_like(states, float("nan")), torch.zeros_like(weight)
        for expert, (start, end) in enumerate(ctx.groups):
            to_states[start:end] = gradient[start:end] @ weight[expert].T
            to_weight[expert] = states[start:end].T @ gradient[start:end]
        return to_states, to_weight, None


def test_memory_beyond_the_groups_affects_nothing(monkeypatch):
    monkeypatch.setattr("logmoe.modeling_logmoe.grouped_mm", PoisonedGroupedMm.apply)
    block = make_block(router_top_p=0.3)
    states = torch.randn(11, 32, requires_grad=True)
    _, weights, kept = block.router(states)
    assert not kept.all()
    output = block.experts._grouped_by_expert(states, weights, kept)
    output.sum().backward()
    assert output.isfinite().all()
    assert states.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in block.parameters())


def test_only_kept_pairs_are_computed():
    block = make_block(router_top_p=0.3)
    computed = []
    block.experts.act_fn.register_forward_hook(lambda module, args, output: computed.append(len(output)))
    states, mask = torch.randn(3, 7, 32), torch.ones(3, 7, dtype=torch.bool)
    mask[0, 2:] = False
    _, _, kept = block.router(states.reshape(-1, 32))
    block(states, mask)
    assert sum(computed) == (kept & mask.reshape(-1, 1)).sum()
    assert sum(computed) < mask.sum() * 4


def test_half_precision_pads_rows_to_buckets_without_changing_results(monkeypatch):
    block = make_block(router_top_p=0.5).bfloat16()
    states = torch.randn(150, 32).bfloat16()
    computed: list[int] = []
    block.experts.act_fn.register_forward_hook(lambda module, args, output: computed.append(len(output)))
    results = []
    for rows_per_bucket in (1, 64):
        monkeypatch.setattr("logmoe.modeling_logmoe.ROWS_PER_BUCKET", rows_per_bucket)
        computed.clear()
        x = states.clone().requires_grad_()
        _, weights, kept = block.router(x)
        kept = kept & (torch.arange(4) < 3)  # the last expert has no rows
        block.zero_grad()
        output = block.experts(x, weights, kept)
        output.float().square().sum().backward()
        assert any(kept.sum(dim=0) % 64)
        assert computed == [-(-rows // rows_per_bucket) * rows_per_bucket for rows in kept.sum(dim=0).tolist()]
        results.append([output, x.grad, *(parameter.grad.clone() for parameter in block.parameters())])
    for exact, padded in zip(*results, strict=True):
        torch.testing.assert_close(padded, exact, atol=0.02 * exact.abs().max().item(), rtol=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_traced_experts_accept_another_routing(dtype):
    experts = make_block().to(dtype).experts
    states, weights = torch.randn(150, 32, dtype=dtype), torch.rand(150, 4)
    few, many = torch.arange(150)[:, None] < torch.tensor([9, 0, 70, 3]), torch.ones(150, 4, dtype=torch.bool)
    traced = torch.jit.trace(experts, (states, weights, few), check_trace=False)
    torch.testing.assert_close(traced(states, weights, many), experts(states, weights, many), atol=0.05, rtol=0.05)


def test_top_p_1_is_the_dense_mixture():
    block = make_block(router_top_p=1.0)
    states = torch.randn(2, 5, 32)
    output, logits = block(states, torch.ones(2, 5, dtype=torch.bool))
    every_expert = torch.stack(
        [
            F.gelu(states @ up.T) @ down.T
            for up, down in zip(block.experts.up_proj, block.experts.down_proj, strict=True)
        ],
        dim=-1,
    )
    torch.testing.assert_close(output, (every_expert * logits.softmax(-1)[:, :, None]).sum(-1), atol=1e-5, rtol=1e-5)


def test_dense_mode_weighs_experts_equally_and_keeps_the_router_in_the_graph():
    block = make_block(routing_mode="dense")
    _, weights, kept = block.router(torch.randn(6, 32))
    assert kept.all()
    assert torch.equal(weights, torch.full((6, 4), 0.25))
    block(torch.randn(1, 3, 32), torch.ones(1, 3, dtype=torch.bool))[0].sum().backward()
    assert block.router.weight.grad is not None
    assert block.router.weight.grad.abs().max() == 0


def test_router_learns_when_a_single_expert_is_active():
    block = make_block(router_top_p=1e-6)
    output, _ = block(torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool))
    output.square().sum().backward()
    assert block.router.weight.grad.abs().max() > 0


@pytest.mark.parametrize("top_p", [1e-6, 0.5, 0.9])
def test_kept_experts_have_their_probabilities_as_weights(top_p):
    """Weights that were rescaled to sum to one would starve the router: that of a single expert has no gradient."""
    router = make_block(router_top_p=top_p).router
    x = torch.randn(50, 32)
    _, weights, kept = router(x)
    probs = F.linear(x, router.weight).softmax(-1)
    torch.testing.assert_close(weights, probs * kept)
    assert 0 < kept.float().mean() < 1
    weights.max(dim=-1).values.sum().backward()
    assert router.weight.grad.abs().max() > 1e-3


def test_every_expert_can_be_kept():
    block = make_block(router_top_p=1e-6)
    _, _, kept = block.router(torch.randn(400, 32))
    assert (kept.sum(dim=0) > 0).all()


def test_routing_is_in_float32_even_in_half_precision():
    config = tiny_config()
    router = LogMoETopPRouter(config)
    torch.nn.init.normal_(router.weight)
    x = torch.randn(5, 32)
    for dtype in (torch.bfloat16, torch.float16):
        logits, weights, _ = router.to(dtype)(x.to(dtype))
        assert logits.dtype == weights.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert router.float()(x)[0].dtype == torch.float32


# ---------------------------------------------------------------------- auxiliary losses


def test_router_statistics_by_hand():
    # One layer, two entries and one of padding, two experts, top_p 0.7.
    probs = torch.tensor([[[0.75, 0.25], [0.5, 0.5], [0.9, 0.1]]])
    mask = torch.tensor([[True, True, False]])
    config = tiny_config(num_experts=2, router_top_p=0.7)
    statistics = router_statistics((probs.log(),), mask, config)
    # Kept pairs: (0, expert 0), (1, expert 0), (1, expert 1): f = 2/3, 1/3; P = 0.625, 0.375.
    torch.testing.assert_close(statistics["expert_load"], torch.tensor([[2 / 3, 1 / 3]]))
    torch.testing.assert_close(statistics["load_balance_loss"], torch.tensor(2 * (2 / 3 * 0.625 + 1 / 3 * 0.375)))
    torch.testing.assert_close(statistics["mean_active_experts"], torch.tensor(1.5))
    entropy = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log() + torch.tensor(0.5).log()) / 2
    torch.testing.assert_close(statistics["router_entropy_loss"], entropy)
    torch.testing.assert_close(statistics["router_z_loss"], torch.tensor(0.0), atol=1e-6, rtol=0)  # log-sum-exp is 0


def test_z_loss_grows_with_the_logits():
    logits = torch.zeros(1, 3, 4)
    mask = torch.ones(1, 3, dtype=torch.bool)
    value = router_statistics((logits + 2.0,), mask, tiny_config())["router_z_loss"]
    torch.testing.assert_close(value, (2.0 + torch.tensor(4.0).log()) ** 2)


def test_balanced_routing_has_load_balance_loss_1():
    logits = 20 * torch.eye(4)[None]  # four entries, each routed to its own expert
    statistics = router_statistics((logits,), torch.ones(1, 4, dtype=torch.bool), tiny_config())
    torch.testing.assert_close(statistics["load_balance_loss"], torch.tensor(1.0))


@settings(max_examples=30)
@given(st.integers(0, 5), st.floats(-50, 50))
def test_padding_changes_no_statistic(extra, value):
    torch.manual_seed(0)
    config = tiny_config()
    logits = torch.randn(2, 3, 4)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    before = router_statistics((logits, 2 * logits), mask, config)
    padding = torch.full((2, extra, 4), value)
    padded = torch.cat([logits, padding], dim=1)
    wider = torch.cat([mask, torch.zeros(2, extra, dtype=torch.bool)], dim=1)
    after = router_statistics((padded, 2 * padded), wider, config)
    for name in before:
        torch.testing.assert_close(after[name], before[name])
