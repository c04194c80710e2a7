"""Inverse variances as bytes, and back, exactly: most are one number per band wherever the pixel is good."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from skyloom.errors import StoreError

RAW, FLAT, MASKED = b"\0", b"\1", b"\2"  # every value; one per band; one per band and a bit per pixel


def pack_ivar(ivar: Float32[np.ndarray, "c h w"]) -> bytes:
    """The shortest of three forms that gives every bit back: C numbers; C numbers and a good-pixel mask; all pixels."""
    level = ivar.max(axis=(1, 2), initial=0)
    good = ivar > 0
    flat = np.where(good, level[:, None, None], np.float32(0))
    if not np.isfinite(level).all() or not np.array_equal(
        flat.view(np.uint32), np.ascontiguousarray(ivar).view(np.uint32)
    ):
        return RAW + ivar.tobytes()
    if (good.all(axis=(1, 2)) | (level == 0)).all():
        return FLAT + level.tobytes()
    return MASKED + level.tobytes() + np.packbits(good).tobytes()


def unpack_ivar(packed: bytes | memoryview, out: Float32[np.ndarray, "c h w"]) -> None:
    """Fill `out` with what `pack_ivar` was given; StoreError if the bytes are not of that shape."""
    form, body = bytes(packed[:1]), memoryview(packed)[1:]
    mask_bytes = -(-out.size // 8)
    wanted = {RAW: 4 * out.size, FLAT: 4 * len(out), MASKED: 4 * len(out) + mask_bytes}.get(form)
    if len(body) != wanted:
        raise StoreError(
            f"damaged ivar: {len(packed)} bytes of form {form!r} for shape {out.shape}; write the survey again"
        )
    if form == RAW:
        out[...] = np.frombuffer(body, np.float32).reshape(out.shape)
        return
    level = np.frombuffer(body[: 4 * len(out)], np.float32)[:, None, None]
    if form == FLAT:
        out[...] = level
        return
    good = np.unpackbits(np.frombuffer(body[4 * len(out) :], np.uint8), count=out.size).reshape(out.shape)
    np.multiply(good, level, out=out)
