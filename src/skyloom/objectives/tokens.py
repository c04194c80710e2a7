"""What a network that reads tokens is held to: the next one, or those that were hidden from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from skyloom.data.workers import ALONE, Share
from skyloom.nn.laws import Law
from skyloom.nn.sky_gpt import SkyGPT
from skyloom.sky.tokens import IMAGE, LIGHT, TokenBatch, Tokens


@dataclass(frozen=True)
class TokenLikelihood:
    """Mean surprise of the numbers in tokens [nat per number], kind by kind.

    masked : share of the steps that fill in what is hidden, the others say what comes next: 0 is a decoder alone, 1 an
        autoencoder with masks
    mixed : share of the steps at which the kinds come in a random order; else images come first, as listed
    robust : Huber's threshold, in the unit of the values, for a loss of the expected patch in place of its likelihood;
        0 for the likelihood
    share : of each batch that this process looks at; all processes draw alike
    Source: masks He et al. 2022, arXiv:2111.06377; the robust loss Huber 1964, AoMS 35, 73, as AstroPT has it (Smith et
    al. 2024, arXiv:2405.14930).
    """

    masked: float = 0.5
    mixed: float = 0.5
    robust: float = 0.0
    share: Share = ALONE

    def __call__(self, net: SkyGPT, batch: TokenBatch, rng: torch.Generator) -> dict[str, Tensor]:
        """The terms of one process, such that their mean over all processes is what one alone would find."""
        batch = reordered(batch, rng) if float(torch.rand((), generator=rng)) < self.mixed else batch
        fills = float(torch.rand((), generator=rng)) < self.masked
        counted = {name: tokens.known for name, tokens in batch.items()}
        mine = slice(self.share.rank, None, self.share.world)
        part = {name: tokens.of_objects(mine) for name, tokens in batch.items()}
        if fills:
            hidden = {name: some.to(counted[name].device) for name, some in some_hidden(batch, rng).items()}
            counted = {name: known & hidden[name][..., None] for name, known in counted.items()}
            said = net.filled(part, {name: some[mine] for name, some in hidden.items()})
        else:
            said = net.next(part)
        weights = {kind.name: kind.weight for kind in net.config.kinds}
        return {name: weights[name] * self.mean(law, part[name], counted[name], name) for name, law in said.items()}

    def mean(self, law: Law, tokens: Tokens, counted: Bool[Tensor, "n t w"], name: str) -> Float[Tensor, ""]:
        """Over the numbers that count, of which `counted` has those of all processes; 0 where none does."""
        mine = counted[self.share.rank :: self.share.world]
        total = torch.where(mine, self.each(law, tokens, name), 0.0).sum()
        return self.share.world * total / counted.sum().clamp(min=1)

    def each(self, law: Law, tokens: Tokens, name: str) -> Float[Tensor, "b t w"]:
        if self.robust and name.startswith((IMAGE, LIGHT)):
            return F.huber_loss(law.expected, tokens.values, reduction="none", delta=self.robust)
        return law.surprise(tokens.values)


def reordered(batch: TokenBatch, rng: torch.Generator) -> TokenBatch:
    """The same tokens, kind after kind in a random order."""
    names = list(batch)
    return {names[k]: batch[names[k]] for k in torch.randperm(len(names), generator=rng).tolist()}


def some_hidden(batch: TokenBatch, rng: torch.Generator) -> dict[str, Bool[Tensor, "b t"]]:
    """Which tokens of each object are hidden. Of a third of the objects all that is no image, of a sixth all that is
    one; of the others whole kinds, with a chance that is drawn for each object from none to all. Of half of the kinds
    that are left a share of their tokens, drawn likewise.

    Images that are all that is shown stay whole, but for a third of them: what lies beyond a line near the middle is
    hidden, with the light that would tell of it.

    So a network meets everything from one missing number to half an image alone. Hiding kinds by chance only would
    hardly ever hide all of a dozen columns, and scattered patches only would never ask for half a galaxy (docs/LOG.md).
    """
    n = len(next(iter(batch.values())).values)
    alone, chance, cut = (torch.rand(n, 1, generator=rng) for _ in range(3))
    cuts = (alone < 1 / 3) & (cut < 1 / 3)
    hidden = {}
    for name, tokens in batch.items():
        image = name.startswith((LIGHT, IMAGE))
        spared = (alone < 1 / 3) if image else torch.zeros_like(alone, dtype=torch.bool)
        shut = ((alone >= 1 / 3) & (alone < 1 / 2)) if image else (alone < 1 / 3)
        whole = shut | (torch.rand(n, 1, generator=rng) < chance)
        share = torch.rand(n, 1, generator=rng) * (torch.rand(n, 1, generator=rng) < 0.5)
        hidden[name] = (whole | (torch.rand(n, tokens.values.shape[1], generator=rng) < share)) & ~spared
        if image:
            hidden[name] |= cuts & (beyond_a_line(tokens, rng) if name.startswith(IMAGE) else True)
    return hidden


def beyond_a_line(tokens: Tokens, rng: torch.Generator) -> Bool[Tensor, "b t"]:
    """Patches on the far side of a line in any direction, between the middle of each image and half way to its edge."""
    angle, share = (torch.rand(len(tokens.values), 1, generator=rng) for _ in range(2))
    rows, columns = tokens.places[..., 0].cpu(), tokens.places[..., 1].cpu()
    along = rows * torch.sin(2 * torch.pi * angle) + columns * torch.cos(2 * torch.pi * angle)
    return along > 0.5 * share * along.amax(1, keepdim=True)


@torch.no_grad()
def surprises(net: SkyGPT, batches: list[TokenBatch], loss: TokenLikelihood) -> Mapping[str, Float[Tensor, "n"]]:
    """Of every object the mean surprise of each kind's next tokens, in the order of the batch; NaN without any."""
    found: dict[str, list[Tensor]] = {}
    for batch in batches:
        for name, law in net.next(batch).items():
            tokens = batch[name]
            total = torch.where(tokens.known, loss.each(law, tokens, name), 0.0).sum((1, 2))
            found.setdefault(name, []).append((total / tokens.known.sum((1, 2))).cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}
