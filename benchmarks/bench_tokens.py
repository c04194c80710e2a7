"""How many tokens a second does sky_gpt learn from, and what share of the machine's matrix products is that?

`sky_gpt`: a whole step on images of 32 × 32 pixels and three bands in memory (67 tokens each): forward, backward, clip,
AdamW. `plain`: PyTorch's TransformerEncoder of as many layers, heads and channels with a causal mask, on vectors of as
many tokens, with a linear layer to as many numbers at its end. `vectors`: images to vectors. `one by one`: tokens drawn
one after another with kept keys and values, and `again each`: without. The share is of a 1,024² matrix product in
PyTorch, timed before and after. Expected: near plain; drawing with a cache many times faster than without.

    python benchmarks/bench_tokens.py [--depth 4] [--batch 48] [--device cpu]
"""

from __future__ import annotations

import argparse

import torch
from _bench import best_of, environment
from torch import nn

from skyloom.data.tokens import Tokeniser
from skyloom.nn.sky_gpt import SkyGPT, SkyGPTConfig
from skyloom.objectives.tokens import TokenLikelihood
from skyloom.recipes.sky_gpt import Losses, peak
from skyloom.sky.scaling import Asinh
from skyloom.train import descend

BANDS, CROP, PATCH = 3, 32, 4


class Plain(nn.Module):
    """A transformer as PyTorch has it."""

    def __init__(self, width: int, depth: int, outputs: int):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, depth, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.enter, self.leave = nn.Linear(outputs // 2, width), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor, rng: torch.Generator) -> dict[str, torch.Tensor]:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
        mean, spread = self.leave(self.body(self.enter(x), mask=mask, is_causal=True)).chunk(2, -1)
        return {"loss": nn.functional.gaussian_nll_loss(mean[:, :-1], x[:, 1:], spread[:, :-1].exp())}


def stepped(losses: nn.Module, batch, device: str):
    optimiser = torch.optim.AdamW(losses.parameters(), lr=1e-4, fused=device == "cuda")
    update = descend(losses, lambda net, batch, rng: net(batch, rng), optimiser, seed=0, rate=lambda _: 1e-4, clip=1.0)

    def job():
        found = update(1, batch)
        return float(next(iter(found.values())))

    return job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--device", default="cpu")
    told = parser.parse_args()
    print(environment())
    device = torch.device(told.device)
    ones = (1.0,) * BANDS
    tokeniser = Tokeniser(Asinh(ones).scaled, ones, (2.0, 4.0, 8.0), PATCH, CROP)
    config = SkyGPTConfig(depth=told.depth, kinds=tokeniser.kinds())
    net = SkyGPT(config).to(device)
    flux = torch.randn(told.batch, BANDS, CROP, CROP, device=device)
    kinds = [kind.name for kind in config.kinds]
    batch = dict(zip(kinds, tokeniser.tokens(flux, torch.ones_like(flux)), strict=True))
    lengths = {name: tokens.values.shape[1] for name, tokens in batch.items()}
    tokens = sum(lengths.values())
    plain = Plain(config.width, told.depth, 2 * BANDS * PATCH**2).to(device)
    vectors = torch.randn(told.batch, tokens, BANDS * PATCH**2, device=device)
    forward = told.batch * config.flop(lengths)
    some = {name: one.of_objects(slice(4)) for name, one in batch.items()}

    def again_each():
        with torch.no_grad():
            for _ in range(tokens):
                net.next(some)

    def step(masked: float):
        return stepped(Losses(net, TokenLikelihood(masked, 0.0)), batch, told.device), told.batch, 3 * forward

    with_looks = forward * config.looked_at / told.depth
    jobs = {
        "sky_gpt, next": step(0.0),
        "sky_gpt, hidden": step(1.0),
        "plain": (stepped(plain, vectors, told.device), told.batch, 3 * forward),
        "vectors": (torch.no_grad()(lambda: float(net.vectors(batch).sum())), told.batch, with_looks),
        "one by one": (lambda: net.continued(some, dict.fromkeys(some, 0)), 4, 0),
        "again each": (again_each, 4, 0),
    }
    count = sum(weight.numel() for weight in net.parameters())
    theirs = sum(weight.numel() for weight in plain.parameters())
    print(f"\ndepth {told.depth}, {count:,} parameters ({theirs:,} in plain), {tokens} tokens, batch {told.batch}")
    before = peak(device)
    print(f"{'':<16} {'tokens/s':>10} {'CPU ms/object':>14} {'of the peak':>12}")
    for name, (job, objects, flop) in jobs.items():
        job()
        run = best_of(5, job)
        share = f"{flop / run.wall / before:12.0%}" if flop else ""
        print(f"{name:<16} {objects * tokens / run.wall:10.0f} {1000 * run.cpu / objects:14.2f} {share}")
    print(f"\npeak {before / 1e9:.0f} and {peak(device) / 1e9:.0f} GFLOP/s before and after\n{environment()}")


if __name__ == "__main__":
    main()
