"""Inpainting with the ideal denoiser of a Gaussian field, whose conditional mean and covariance are closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

import skyloom as sl
from skyloom.data import store
from skyloom.data.export import export
from skyloom.errors import RequestError, StoreError
from skyloom.infer.frames import frames
from skyloom.infer.generator import Generator
from skyloom.infer.inpaint import inpaint
from skyloom.sky.scaling import MinMax
from skyloom.sky.trails import Trail, draw_trail

SIDE, NOISE, SKY = 16, 0.5, 7.0
BANDS = tuple(sl.Band(name, 22.5, 0.7, "nanomaggy") for name in "gri")
MIXED = torch.tensor([[1.0, 0.6, 0.4], [0.6, 1.0, 0.5], [0.4, 0.5, 1.0]]).double()  # covariance of the bands
PART, BASE = torch.linalg.eigh(MIXED)


def power(shape) -> torch.Tensor:
    """Of smooth light, and of noise of rms NOISE on it; the same field whatever the shape."""
    fy, fx = (torch.fft.fftfreq(side).double() for side in shape)
    return 30 / (1 + (fy[:, None] ** 2 + fx**2) / 0.08**2) ** 1.5 + NOISE**2


class Field(torch.nn.Module):
    """The ideal denoiser of a field on a torus with these bands and this power."""

    def forward(self, x, sigma):
        gain = PART[:, None, None] * power(x.shape[-2:])
        gain = gain / (gain + sigma.double() ** 2)
        bands = torch.einsum("bchw,cd->bdhw", x.double(), BASE)
        clean = torch.fft.ifft2(torch.fft.fft2(bands) * gain).real
        return torch.einsum("bdhw,cd->bchw", clean, BASE).to(x.dtype)


def generator(side=SIDE, names="gri"):
    info = sl.SurveyInfo(tuple(band for band in BANDS if band.name in names), (side, side), 0.2)
    return Generator(
        "field", "0" * 16, "galaxy_edm", info, (NOISE,) * 3, (1.0,) * 3, MinMax((2.0,) * 3, clip=False), (0.02, 60.0),
        0.0, 0, 4, lambda device: Field(),
    )  # fmt: skip


def drawn(seed, shape=(SIDE, SIDE)):
    """A field as the denoiser knows it, as flux: (scaled + 1) on a sky."""
    white = np.random.default_rng(seed).normal(size=(3, *shape))
    smooth = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power(shape).numpy())).real
    return (np.einsum("chw,dc->dhw", smooth * np.sqrt(PART.numpy())[:, None, None], BASE.numpy()) + 1 + SKY).astype(
        "f4"
    )


def stripe(shape=(SIDE, SIDE)):
    mask = np.zeros((3, *shape), np.uint8)
    mask[:, :, 6:9] = 1
    return mask


def cutout(number, mask=None, shape=(SIDE, SIDE), rms=NOISE):
    flux = drawn(number, shape)
    ivar = np.full_like(flux, 1 / rms**2)
    flux[0, 1, 1], flux[1, 2, 2], ivar[0, 1, 1] = np.nan, -0.0, 0
    ivar[2, 3, 3] = 0
    sky = {"sky": np.full(3, SKY, np.float32), "sky_rms": np.full(3, rms, np.float32)}
    columns = {"mag": 20.0 + number, "spoilt": None if mask is None else mask.ravel()}
    where = {"ra": 180.0 + number, "dec": 1.0, "tile": f"t{number}"}
    return sl.Cutout(f"field-{number}", flux, ivar, **where, **sky, columns=columns)


def survey_of(path, cutouts, bands=BANDS):
    cutouts = list(cutouts)
    info = sl.SurveyInfo(bands, cutouts[0].flux.shape[1:], 0.2, source="a field")
    return store.write(path, info, cutouts)


@pytest.fixture
def survey(tmp_path):
    """Three objects; the middle one has nothing to fill."""
    return survey_of(tmp_path / "in.lance", (cutout(k, None if k == 1 else stripe()) for k in range(3)))


def quick(survey, out, mask="spoilt", with_=None, **arguments):
    return inpaint(survey, out, mask, with_ or generator(), **({"samples": 2, "steps": 3} | arguments))


def same_bits(a, b):
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@pytest.mark.parametrize("method", ["posterior", "repaint"])
def test_known_pixels_keep_their_bits_and_masked_ones_are_filled(survey, tmp_path, method):
    filled = quick(survey, tmp_path / "out.lance", method=method)
    for before, after in zip(survey.read(), filled.read(), strict=True):
        mask = np.zeros(before.flux.shape, bool)
        if before.columns["spoilt"] is not None:
            mask = before.columns["spoilt"].reshape(mask.shape) > 0
        assert same_bits(before.flux[~mask], after.flux[~mask]) and same_bits(before.ivar[~mask], after.ivar[~mask])
        assert np.isfinite(after.flux[mask]).all() and (after.ivar[mask] > 0).all()
        assert not (after.flux[mask] == before.flux[mask]).any()
        assert (before.object_id, before.tile, before.columns["mag"]) == (
            after.object_id,
            after.tile,
            after.columns["mag"],
        )
        assert after.columns["filled_pixels"] == mask.sum()
    filled.verify()


def test_a_filled_pixel_weighs_as_much_as_its_samples_agree(survey, tmp_path):
    filled = quick(survey, tmp_path / "out.lance", samples=3, keep_samples=True)
    one, none, _ = filled.read()
    mask = one.columns["filled"].reshape(one.flux.shape) > 0
    assert (mask == (stripe() > 0)).all() and none.columns["filled"] is None
    draws = one.columns["filled_samples"].reshape(3, -1)
    sigma = one.columns["filled_sigma"].reshape(one.flux.shape)
    np.testing.assert_allclose(one.flux[mask], draws.mean(0), rtol=1e-5)
    np.testing.assert_allclose(sigma[mask], draws.std(0, ddof=1) * np.sqrt(4 / 3), rtol=1e-3)
    np.testing.assert_allclose(one.ivar[mask], sigma[mask] ** -2.0, rtol=1e-3)
    assert (sigma[~mask] == 0).all()


def conditional_law(flux, known, mask, error=0.0):
    """Mean and σ of masked pixels (flux) given the known ones, seen with an error more, from the field's covariance."""
    shape = flux.shape
    size = flux.size
    basis = torch.eye(size).double().view(size, *shape)
    spread = torch.einsum("bchw,cd->bdhw", basis, BASE)
    spread = torch.fft.ifft2(torch.fft.fft2(spread) * PART[:, None, None] * power(shape[1:])).real
    covariance = torch.einsum("bdhw,cd->bchw", spread, BASE).reshape(size, size).numpy()
    k, m = known.ravel(), mask.ravel()
    seen = covariance[np.ix_(k, k)] + error**2 * np.eye(int(k.sum()))
    gain = np.linalg.solve(seen, covariance[np.ix_(k, m)]).T
    mean = 1 + SKY + gain @ (flux.ravel()[k].astype(float) - 1 - SKY)
    return mean, np.sqrt(np.diag(covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(k, m)]))


@pytest.mark.parametrize("rms", [NOISE, 3 * NOISE])
def test_the_estimate_is_the_conditional_mean_and_sigma_its_error(tmp_path, rms):
    """A survey with three times the generator's noise is told from one with its own.

    100 draws scatter by 0.1 σ; the usual three iterations leave a quarter of a σ of a field as smooth as this.
    """
    given = cutout(0, stripe(), rms=rms)
    survey = survey_of(tmp_path / "in.lance", [given])
    (one,) = inpaint(survey, tmp_path / "out.lance", "spoilt", generator(), samples=100, steps=18).read()
    mask = stripe() > 0
    error = np.sqrt(rms**2 - NOISE**2)
    mean, sigma = conditional_law(given.flux, (given.ivar > 0) & ~mask, mask, error)
    pull = (one.flux[mask] - mean) / sigma
    assert np.sqrt((pull**2).mean()) < 0.35 and abs(pull).max() < 0.9
    ratio = one.columns["filled_sigma"].reshape(mask.shape)[mask] / sigma
    assert abs(np.median(ratio) - 1) < 0.1


def test_what_lies_under_the_mask_or_on_bad_pixels_changes_nothing(tmp_path):
    bytes_out = set()
    for number, value in enumerate((0.0, np.nan, 1e30, -5.0)):
        one = cutout(0, stripe())
        flux = one.flux.copy()
        flux[2, 3, 3] = value
        flux[stripe() > 0] = 123.0 if np.isnan(value) else value
        survey = survey_of(tmp_path / f"in{number}.lance", [replace(one, flux=flux, sky=None, sky_rms=None)])
        (after,) = quick(survey, tmp_path / f"out{number}.lance").read()
        bytes_out.add(after.flux[stripe() > 0].tobytes() + after.ivar.tobytes())
    assert len(bytes_out) == 1


def test_an_object_is_filled_alike_whatever_lies_beside_it(survey, tmp_path):
    first = quick(survey, tmp_path / "one.lance")
    again = quick(survey, tmp_path / "two.lance")
    other = quick(survey, tmp_path / "three.lance", seed=1)
    assert first.content_hash == again.content_hash != other.content_hash
    alone = quick(survey_of(tmp_path / "alone.lance", survey.read(ids=["field-2"])), tmp_path / "four.lance")
    assert same_bits(next(alone.read()).flux, next(first.read(ids=["field-2"])).flux)


def test_objects_of_one_batch_are_filled_as_alone(survey, tmp_path):
    """As on a GPU, where a batch holds many objects; there the bytes may differ by rounding."""
    from skyloom.infer.filling import Filler
    from skyloom.infer.generator import matched

    filler = Filler(generator(), matched(generator(), survey.info), 2, 0, "repaint", 3, False, "cpu")
    cutouts, masks = list(survey.read(ids=["field-0", "field-2"])), [stripe() > 0] * 2
    for one, other in zip(filler(cutouts, masks), filler(cutouts[::-1], masks)[::-1], strict=True):
        np.testing.assert_allclose(one.flux, other.flux, rtol=1e-4)
        (alone,) = filler([next(survey.read(ids=[one.object_id]))], masks[:1])
        np.testing.assert_allclose(one.flux, alone.flux, rtol=1e-4)


def test_a_mask_of_nothing_copies_every_object(survey, tmp_path):
    copy = quick(survey, tmp_path / "out.lance", np.zeros((SIDE, SIDE), bool))
    assert copy.content_hash == survey.content_hash
    assert copy.table(["filled_pixels"])["filled_pixels"].to_pylist() == [0, 0, 0]


def test_bands_may_be_fewer_and_zero_points_others(survey, tmp_path):
    """One flux in two units: the bands r and i, 2.5 mag apart, filled alike."""
    results = []
    for zero_point in (22.5, 25.0):
        bands = tuple(replace(band, zero_point=zero_point) for band in BANDS[1:])
        scale = np.float32(10 ** (0.4 * (zero_point - 22.5)))
        made = [
            replace(
                one, flux=one.flux[1:] * scale, ivar=one.ivar[1:] / scale**2, sky=one.sky[1:] * scale,
                sky_rms=one.sky_rms[1:] * scale, columns={"spoilt": one.columns["spoilt"][: 2 * SIDE**2]},
            )
            for one in survey.read(ids=["field-0"])
        ]  # fmt: skip
        there = survey_of(tmp_path / f"{zero_point}.lance", made, bands)
        (one,) = quick(there, tmp_path / f"{zero_point}-out.lance").read()
        results.append(one.flux[stripe()[1:] > 0] / scale)
    np.testing.assert_allclose(*results, rtol=1e-4)


@pytest.mark.parametrize("shape", [(12, 10), (20, 17), (24, 61), (70, 50)])
def test_images_of_other_sizes_are_padded_or_filled_in_windows(tmp_path, shape):
    survey = survey_of(tmp_path / "in.lance", [cutout(0, shape=shape)])
    mask = np.zeros(shape, bool)
    mask[np.arange(10), np.arange(10)] = mask[-3:, -3:] = mask[5] = True
    (one,) = quick(survey, tmp_path / "out.lance", mask).read()
    everywhere = np.broadcast_to(mask, one.flux.shape)
    assert (one.columns["filled"].reshape(one.flux.shape) > 0)[everywhere].all()
    assert np.isfinite(one.flux[everywhere]).all()
    assert same_bits(one.flux[~everywhere], next(survey.read()).flux[~everywhere])
    level = drawn(0, shape)[everywhere]
    assert np.corrcoef(one.flux[everywhere], level)[0, 1] > 0.3


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.sampled_from([4, 8]))
def test_every_pixel_to_fill_is_kept_from_one_frame_with_room_about_it(height, width, seed, multiple):
    fill = np.random.default_rng(seed).random((height, width)) < 0.03
    fill[0, 0] = True
    left = fill.copy()
    for frame in frames(fill, (16, 16), multiple):
        assert frame.height % multiple == frame.width % multiple == 0
        assert left[frame.keep].any()
        left[frame.keep] = False
        for start, size, side, kept in zip(frame[:2], frame[2:4], fill.shape, frame.keep, strict=True):
            assert max(start, 0) <= kept.start and kept.stop <= min(start + size, side)
            assert kept.start == 0 or kept.start - start >= size // 4
            assert kept.stop == side or start + size - kept.stop >= size // 4
    assert not left.any()


def test_later_windows_see_what_earlier_ones_filled(tmp_path):
    """A stripe across four windows: neighbours across a seam differ as those within a window do."""
    survey = survey_of(tmp_path / "in.lance", [cutout(0, shape=(16, 64))])
    mask = np.zeros((16, 64), bool)
    mask[4:12] = True
    (one,) = quick(survey, tmp_path / "out.lance", mask, samples=8, steps=12, keep_samples=True).read()
    draws = one.columns["filled_samples"].reshape(8, 3, 8, 64)
    steps = (np.diff(draws, axis=-1) ** 2).mean((0, 1, 2))
    assert steps.max() < 3 * np.median(steps)


def test_what_was_filled_is_told_in_notes_and_on_export(survey, tmp_path):
    filled = quick(survey, tmp_path / "out.lance")
    assert any("field (weights 0000000000000000)" in note and "seed 0" in note for note in filled.info.notes)
    export(filled, tmp_path / "files")
    with fits.open(tmp_path / "files" / "field-0.fits", checksum=True) as hdus:
        np.testing.assert_array_equal(hdus["FILLED", 2].data, stripe()[1])
        sigma = next(filled.read()).columns["filled_sigma"].reshape(3, SIDE, SIDE)
        np.testing.assert_array_equal(hdus["FILLSIG", 3].data, sigma[2])
        assert hdus["FILLED", 2].header["BAND"] == "r" and (hdus["MASK", 2].data == 0).all()
        history = "".join(str(hdus[0].header["HISTORY"]).split("\n"))
        assert "not observed but drawn by field (weights 0000000000000000)" in history and "seed 0" in history
        assert hdus[0].header["CAT filled_pixels"] == 3 * SIDE * 3
    with fits.open(tmp_path / "files" / "field-1.fits") as hdus:
        assert "FILLED" not in hdus
    back = sl.ingest(tmp_path / "files", tmp_path / "back.lance")
    assert back.info.bands == filled.info.bands
    for ours, theirs in zip(filled.read(), back.read(ids=[c.object_id for c in filled.read()]), strict=True):
        assert same_bits(ours.flux, theirs.flux) and same_bits(ours.ivar, theirs.ivar)
        assert np.array_equal(ours.columns["filled"], theirs.columns["filled"])


def test_filling_again_remembers_what_was_filled_before(survey, tmp_path):
    once = quick(survey, tmp_path / "one.lance")
    spot = np.zeros((SIDE, SIDE), bool)
    spot[2:4, 2:4] = True
    one, middle, _ = quick(once, tmp_path / "two.lance", spot).read()
    assert one.columns["filled_pixels"] == 3 * (3 * SIDE + 4)
    assert middle.columns["filled_pixels"] == 12


def test_bad_pixels_can_be_asked_for(survey, tmp_path):
    for one in quick(survey, tmp_path / "out.lance", "bad").read():
        assert one.columns["filled_pixels"] == 2 and (one.ivar > 0).all() and np.isfinite(one.flux).all()


def test_trails_are_found_and_filled(tmp_path):
    light, spoilt = draw_trail((64, 64), Trail(0.6, 5.0, 3.0, 80 * NOISE))
    clean = cutout(0, shape=(64, 64))
    smooth = replace(clean, flux=(SKY + NOISE * np.random.default_rng(0).normal(size=clean.flux.shape)).astype("f4"))
    flux = smooth.flux + light.astype("f4")
    flux[clean.ivar == 0] = np.nan
    survey = survey_of(tmp_path / "in.lance", [replace(smooth, flux=flux)])
    (one,) = quick(survey, tmp_path / "out.lance", "trails", generator(64)).read()
    assert (one.columns["filled"].reshape(flux.shape) > 0)[:, spoilt].mean() > 0.99
    good = one.ivar > 0
    assert np.abs(one.flux - SKY)[good].max() < 8 * NOISE


def refusals(survey):
    whole = np.ones((SIDE, SIDE), bool)
    return [
        ({"mask": np.zeros((SIDE, 5), bool)}, r"shape \(16, 5\)"),
        ({"mask": whole}, "leaves nothing of 3 objects"),
        ({"samples": 1}, "two at least"),
        ({"method": "magic"}, "posterior, repaint"),
        ({"steps": 0}, "one at least"),
        ({"with_": generator(names="gr")}, "never seen i"),
        ({"mask": "nowhere.fits"}, "no such file or folder"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_bad_input_is_refused_with_the_reason(survey, tmp_path, number):
    arguments, reason = refusals(survey)[number]
    with pytest.raises(RequestError, match=reason):
        quick(survey, tmp_path / "out.lance", **arguments)
    assert not (tmp_path / "out.lance").exists()


def test_a_band_without_a_pixel_needs_a_sky(survey, tmp_path):
    band = np.zeros((1, 3, SIDE, SIDE), bool)
    band[:, 1] = True
    (one, *_) = quick(survey, tmp_path / "out.lance", band).read()
    assert np.isfinite(one.flux[1]).all() and one.columns["filled_pixels"] == SIDE**2
    bare = survey_of(tmp_path / "bare.lance", (replace(c, sky=None, sky_rms=None) for c in survey.read()))
    with pytest.raises(RequestError, match="states no sky"):
        quick(bare, tmp_path / "out2.lance", band)


def test_a_survey_that_exists_is_not_overwritten(survey, tmp_path):
    with pytest.raises(StoreError, match="exists"):
        quick(survey, survey.path)


def test_progress_counts_the_objects_with_something_to_fill(survey, tmp_path):
    seen = []
    quick(survey, tmp_path / "out.lance", progress=lambda *said: seen.append(said))
    assert [said for said in seen if said[2] == "inpaint"] == [(1, 2, "inpaint"), (2, 2, "inpaint")]
