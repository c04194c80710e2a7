"""The one loop: update once per batch and yield. The caller logs, scores, saves, and stops."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from skyloom.data.workers import Share

Update = Callable[[int, Any], dict[str, Tensor]]  # the number of the step and a batch in, named losses out


class Step(NamedTuple):
    """number counts from 1; losses are detached and on the device: reading one costs a synchronisation."""

    number: int
    losses: dict[str, Tensor]


class Average(NamedTuple):
    """A copy of a network that follows it; momentum : the share of itself that it keeps at a step"""

    net: nn.Module
    momentum: Callable[[int], float]


def train(update: Update, batches: Iterable[Any], start: int = 0) -> Iterator[Step]:
    """Update once per batch and yield. start : how many batches came before these"""
    for number, batch in enumerate(batches, start + 1):
        yield Step(number, update(number, batch))


def descend(
    net: nn.Module,
    objective: Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    *,
    seed: int,
    rate: Callable[[int], float],
    clip: float | None = None,
    averages: Sequence[Average] = (),
) -> Update:
    """The ordinary update: one network, one objective, one step of its optimiser.

    objective : (net, batch, rng) to named losses; their sum is descended
    seed : all randomness of a step, dropout included, follows from it and the step's number
    rate : learning rate of a step; clip : largest norm of the gradient
    """

    def update(number: int, batch: Any) -> dict[str, Tensor]:
        for group in optimiser.param_groups:
            group["lr"] = rate(number)
        rng = torch.Generator().manual_seed(seed * 1_000_003 + number)
        optimiser.zero_grad(set_to_none=True)
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
            losses = objective(net, batch, rng)
            torch.stack(list(losses.values())).sum().backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimiser.step()
        for average in averages:
            follow(average.net, net, average.momentum(number))
        return {name: loss.detach() for name, loss in losses.items()}

    return update


def together(
    losses: nn.Module,
    optimiser: torch.optim.Optimizer,
    share: Share,
    *,
    seed: int,
    rate: Callable[[int], float],
    clip: float | None = None,
    sharded: bool = False,
) -> Update:
    """The ordinary update of a network by several processes, or by one: each finds its share of the losses.

    losses : a module of (batch, rng) to named losses, whose mean over the processes is descended. PyTorch's
        DistributedDataParallel averages gradients while they are found; what is returned is the mean of all processes
    sharded : whether `shard` has been called on it, which averages gradients itself
    """
    copied = share.world > 1 and not sharded
    shared = DistributedDataParallel(losses, find_unused_parameters=True) if copied else losses
    update = descend(losses, lambda _, batch, rng: shared(batch, rng), optimiser, seed=seed, rate=rate, clip=clip)

    def reported(number: int, batch: Any) -> dict[str, Tensor]:
        with warnings.catch_warnings():  # what a layer keeps for generation is a view, and nothing here writes into it
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
            found = update(number, batch)
        if share.world > 1:
            both = torch.stack(list(found.values()))
            dist.all_reduce(both)
            found = dict(zip(found, both / share.world, strict=True))
        return found

    return reported


def shard(losses: nn.Module, layers: Iterable[nn.Module], share: Share, device: str) -> None:
    """Leave to every process its share of a network's weights, and so of its gradients and of its optimiser's state.

    Layer after layer is put together while it is needed, by PyTorch's fully_shard (FSDP, Zhao et al. 2023,
    arXiv:2304.11277). Make the optimiser after it: the weights are new ones.
    """
    mesh = init_device_mesh(device, (share.world,))
    for part in (*layers, losses):
        fully_shard(part, mesh=mesh)


class Contest(Protocol):
    """Two networks that contend. The critic's losses are empty at a step at which it rests."""

    @property
    def net(self) -> nn.Module: ...

    @property
    def critic(self) -> nn.Module: ...

    def made(self, batch: Any) -> Any: ...

    def critic_losses(self, number: int, batch: Any, made: Any) -> dict[str, Tensor]: ...

    def net_losses(self, number: int, batch: Any, made: Any) -> dict[str, Tensor]: ...


def contend(
    contest: Contest,
    optimisers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    *,
    seed: int,
    rates: Callable[[int], tuple[float, float]],
    averages: Sequence[Average] = (),
) -> Update:
    """The update of two rivals: what one makes is judged by the other, which learns first.

    optimisers : of the network and of the critic; seed : all randomness of a step follows from it and the step's number
    rates : learning rates of a step, as shares of what each optimiser began with
    """
    whole = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]

    def update(number: int, batch: Any) -> dict[str, Tensor]:
        for optimiser, full, share in zip(optimisers, whole, rates(number), strict=True):
            for group, rate in zip(optimiser.param_groups, full, strict=True):
                group["lr"] = rate * share
        with torch.random.fork_rng():
            torch.manual_seed(seed * 1_000_003 + number)
            made = contest.made(batch)
            contest.critic.requires_grad_(True)
            losses = contest.critic_losses(number, batch, made)
            if losses:
                _step(optimisers[1], losses)
            contest.critic.requires_grad_(False)
            own = contest.net_losses(number, batch, made)
            _step(optimisers[0], own)
        for average in averages:
            follow(average.net, contest.net, average.momentum(number))
        return {name: loss.detach() for name, loss in (losses | own).items()}

    return update


def _step(optimiser: torch.optim.Optimizer, losses: dict[str, Tensor]) -> None:
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    optimiser.step()


@torch.no_grad()
def follow(average: nn.Module, net: nn.Module, momentum: float) -> None:
    """Move an average towards a network: parameters by 1 − momentum, buffers (counts, statistics) all the way."""
    for slow, fast in zip(average.parameters(), net.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)
    for kept, latest in zip(average.buffers(), net.buffers(), strict=True):
        kept.copy_(latest)


def averaged(net: nn.Module) -> nn.Module:
    """A copy of a network to be its moving average."""
    return copy.deepcopy(net).requires_grad_(False).eval()


def exponential(momentum: float) -> Callable[[int], float]:
    """Momentum of an exponential moving average; it forgets faster at the start."""
    return lambda number: min(momentum, number / (number + 10))


def power(exponent: float) -> Callable[[int], float]:
    """Momentum of an average in which step t counts as t to the exponent, so that it grows longer as training does.

    Source: Karras et al. 2024, arXiv:2312.02696, Eq. 127.
    """
    return lambda number: (1 - 1 / number) ** (exponent + 1)


def warm_then_cosine(peak: float, warm: int, steps: int) -> Callable[[int], float]:
    """Learning rate: linear up to `peak` in `warm` steps, then half a cosine down to a hundredth of it at the last.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5. We differ: a warm-up, no restarts.
    """

    def rate(number: int) -> float:
        if number < warm:
            return peak * number / warm
        part = min(1.0, (number - warm) / max(1, steps - warm))
        return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)

    return rate


def level_then_linear(peak: float, steps: int, fall: int) -> Callable[[int], float]:
    """Learning rate: level, but for the last `fall` steps, in which it goes down to nought in a straight line."""

    def rate(number: int) -> float:
        return peak * min(1.0, (steps - number + 1) / fall) if fall else peak

    return rate
