"""Images as Pix2Prof takes them: hot pixels clipped, binned, a fixed range brought to 0–1, bad pixels at 0.

Whatever lies under a bad pixel, NaN included, changes nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def prepare(
    flux: Float[Tensor, "b h w"],
    good: Bool[Tensor, "b h w"],
    low: float,
    high: float,
    percent: float = 99.9,
    factor: int = 1,
) -> Float[Tensor, "b h2 w2"]:
    """Clip at the percentile, then bin by `factor`, bring [low, high] to [0, 1]; 0 where no pixel is good.

    low, high : the training set's floor and ceiling, in the unit of flux
    """
    flux, good = bin_mean(clip_percentile(flux, good, percent), good, factor)
    return min_max(flux, low, high).masked_fill(~good, 0)


def clip_percentile(
    flux: Float[Tensor, "b h w"], good: Bool[Tensor, "b h w"], percent: float = 99.9
) -> Float[Tensor, "b h w"]:
    """No good pixel above the percentile of its image's good pixels (interpolated, as NumPy does); bad pixels are 0.

    Source: Smith et al. 2021, arXiv:2010.00622, “Training set”. We differ: the paper leaves open whether the
    percentile is of an image or of the training set; here it is of the image, and without its bad pixels.
    """
    from_top = 1 - percent / 100
    flat = flux.masked_fill(~good, -torch.inf).flatten(1)
    rank = from_top * (good.flatten(1).sum(1).double() - 1).clamp_min(0)
    top = flat.topk(min(int(from_top * (flat.shape[1] - 1)) + 2, flat.shape[1]), 1).values
    above = rank.long()[:, None]
    upper, lower = top.gather(1, above)[:, 0], top.gather(1, (above + 1).clamp_max(top.shape[1] - 1))[:, 0]
    lower = torch.where(lower.isinf(), upper, lower)
    ceiling = torch.lerp(upper, lower, (rank - rank.floor()).to(flux.dtype))
    return torch.minimum(flux, ceiling[:, None, None]).masked_fill(~good, 0)


def min_max(flux: Float[Tensor, "b h w"], low: float, high: float) -> Float[Tensor, "b h w"]:
    """(flux − low) / (high − low): 0 at low, 1 at high, and on beyond both.

    Source: Smith et al. 2021, arXiv:2010.00622, “Training set” (Eq. 2.1 of the author's thesis). We differ: nothing.
    """
    return (flux - low) / (high - low)


def bin_mean(
    flux: Float[Tensor, "b h w"], good: Bool[Tensor, "b h w"], factor: int
) -> tuple[Float[Tensor, "b h2 w2"], Bool[Tensor, "b h2 w2"]]:
    """Mean of the good pixels of each factor × factor block, 0 where there is none; and where there is one.

    Blocks start at pixel 0; rows and columns left over at the end are dropped.
    """
    share = F.avg_pool2d(good.to(flux.dtype)[:, None], factor)[:, 0]
    light = F.avg_pool2d(flux.masked_fill(~good, 0)[:, None], factor)[:, 0]
    return torch.where(share > 0, light / share.clamp_min(torch.finfo(flux.dtype).tiny), 0), share > 0
