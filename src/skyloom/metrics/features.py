"""How far apart two samples lie as features of an encoder: the Fréchet distance and the kernel distance.

The features may come from anywhere: the random encoder here, one that was trained, or Inception v3 of a user. A value
means something only beside others from the same encoder, the same stretch and the same n, and beside its null: the
distance between two disjoint samples of real images, each as large.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.score import Score
from skyloom.nn.random_features import RandomEncoder, RandomEncoderConfig

BLOCKS = 20  # of the jackknife
TOGETHER = 16  # images at a time: more leave the cache and take longer


def random_features(images: Float32[np.ndarray, "n c h w"], seed: int = 0) -> Float32[np.ndarray, "n d"]:
    """RANDOM features of stretched images, of any number of bands: an encoder that nobody trained, see `RandomEncoder`.

    images : N(0, 1) on blank sky, such as `sky.stretch` makes; finite
    The same seed gives the same encoder everywhere. Features of different seeds or bands cannot be compared.
    """
    if not np.isfinite(images).all():
        raise CatalogueError("images have pixels that are not finite; set bad pixels to the level of the sky first")
    config = RandomEncoderConfig(bands=images.shape[1], seed=seed)
    if min(images.shape[2:]) < config.multiple:
        raise RequestError(f"images of {images.shape[2:]} pixels; the encoder needs {config.multiple} along each axis")
    encoder = RandomEncoder(config).eval()
    found = np.empty((len(images), config.dimension), np.float32)
    for start in range(0, len(images), TOGETHER):
        some = np.ascontiguousarray(images[start : start + TOGETHER], np.float32)
        found[start : start + TOGETHER] = encoder(torch.from_numpy(some)).numpy()
    return found


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m D"]) -> Score:
    """|Δ mean|² + tr(A + B − 2 (A½ B A½)½) for the means and covariances A, B of two samples of features.

    In squared units of the features; 0 for equal samples. It is biased: two samples of one population lie apart, by
    about 1/n, so compare values of equal n, beside their null. The error is a jackknife over 20 blocks of each sample;
    Score.n is the smaller sample.
    Blind to what leaves mean and covariance alone: the tails of a population, and copies of single images.
    Source: Dowson & Landau 1982, J. Multivariate Analysis 12, 450, Eq. 4; Heusel et al. 2017, arXiv:1706.08500, Eq. 6.
    We differ: on features of Inception v3 it is their FID, on others it is not; an error is given.
    """
    a, b = _features(a, b)
    (mean_a, cov_a), (mean_b, cov_b) = _normal(a), _normal(b)
    root_a, root_b = _root(cov_a), _root(cov_b)
    value = _separation(mean_a - mean_b, cov_a, cov_b, root_b)
    without_a = [_separation(mean - mean_b, cov, cov_b, root_b) for mean, cov in map(_normal, _leaving_out(a))]
    without_b = [_separation(mean - mean_a, cov, cov_a, root_a) for mean, cov in map(_normal, _leaving_out(b))]
    return Score(max(value, 0.0), _jackknife_error(without_a, without_b), "", min(len(a), len(b)))


def kernel_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m D"]) -> Score:
    """Squared maximum mean discrepancy of two samples of features under the kernel (x·y/d + 1)³.

    Unbiased: 0 on average, and as often below, for samples of one population of any size. The error is a jackknife
    over 20 blocks of each sample; Score.n is the smaller sample.
    Blind to what leaves the first three moments of the features alone, and to copies of single images.
    Source: Bińkowski et al. 2018, arXiv:1801.01401, §4 (the Kernel Inception Distance); Gretton et al. 2012, JMLR 13,
    723, Eq. 3.
    We differ: all pairs at once, where they average over subsets; on features other than Inception's it is not KID.
    """
    a, b = _features(a, b)
    within_a, within_b, across = _kernel_sums(a, a), _kernel_sums(b, b), _kernel_sums(a, b)
    n, m, left_n, left_m = len(a), len(b), len(a) - _sizes(a), len(b) - _sizes(b)

    def discrepancy(inner_a: Any, n: Any, inner_b: Any, m: Any, outer: Any) -> Any:
        return inner_a / (n * (n - 1)) + inner_b / (m * (m - 1)) - 2 * outer / (n * m)

    total_a, total_b, total = within_a.sum(), within_b.sum(), across.sum()
    value = discrepancy(total_a, n, total_b, m, total)
    left_a = total_a - within_a.sum(0) - within_a.sum(1) + within_a.diagonal()
    left_b = total_b - within_b.sum(0) - within_b.sum(1) + within_b.diagonal()
    without_a = discrepancy(left_a, left_n, total_b, m, total - across.sum(1))
    without_b = discrepancy(total_a, n, left_b, left_m, total - across.sum(0))
    return Score(float(value), _jackknife_error(without_a, without_b), "", min(n, m))


def _features(a: np.ndarray, b: np.ndarray) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """Both samples in double precision; refused if they cannot be compared."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise RequestError(f"features {a.shape} and {b.shape}; both must be (sample, feature) of one encoder")
    if min(len(a), len(b)) < 3:
        raise RequestError(f"samples of {len(a)} and {len(b)} features; a distance needs 3 of each")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise CatalogueError("features that are not finite; drop those images, and say how many, before scoring")
    return a.astype(np.float64), b.astype(np.float64)


def _sizes(rows: np.ndarray) -> Int[np.ndarray, "g"]:
    """Of the blocks of a jackknife."""
    return np.array([len(block) for block in np.array_split(rows, min(BLOCKS, len(rows)))])


def _leaving_out(rows: Float[np.ndarray, "n d"]) -> Iterator[Float[np.ndarray, "k d"]]:
    """The rows without each of the blocks in turn."""
    for block in np.array_split(np.arange(len(rows)), min(BLOCKS, len(rows))):
        yield np.delete(rows, block, 0)


def _jackknife_error(*without: np.ndarray | list[float]) -> float:
    """1σ of a number, from its values without each block of each of the samples that it is of."""
    variances = [(len(each) - 1) * np.var(each) for each in without]
    return float(np.sqrt(np.sum(variances)))


def _normal(rows: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    """Mean and covariance."""
    mean = rows.mean(0)
    centred = rows - mean
    return mean, centred.T @ centred / (len(rows) - 1)


def _root(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """The symmetric square root; eigenvalues that rounding brought below 0 count as 0."""
    value, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(value, 0))) @ vectors.T


def _separation(shift, cov: np.ndarray, other: np.ndarray, other_root: np.ndarray) -> float:
    """The Fréchet distance of two normal laws."""
    shared = np.linalg.eigvalsh(other_root @ cov @ other_root)
    return float(shift @ shift + np.trace(cov) + np.trace(other) - 2 * np.sqrt(np.maximum(shared, 0)).sum())


def _kernel_sums(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "g k"]:
    """The kernel summed over the pairs of each block of `a` with each of `b`; a row with itself does not count."""
    same = a is b
    blocks_a, blocks_b = (np.array_split(rows, min(BLOCKS, len(rows))) for rows in (a, b))
    sums = np.empty((len(blocks_a), len(blocks_b)))
    for i, one in enumerate(blocks_a):
        for j, other in enumerate(blocks_b):
            if same and j < i:
                sums[i, j] = sums[j, i]
                continue
            kernel = (one @ other.T / a.shape[1] + 1) ** 3
            sums[i, j] = kernel.sum() - (np.trace(kernel) if same and i == j else 0)
    return sums
