"""The painter of fields that comes with skyloom, beside pieces of the real field that its training did not see."""

import pytest

import skyloom as sl
from skyloom.checkpoint import open_run, shipped
from skyloom.data.images import read_images
from skyloom.infer.fields.painter import FACTS, painter_of
from skyloom.metrics.counts import completeness_limit, field_sources, likeness
from skyloom.metrics.spectra import noise_distance
from skyloom.recipes.known_sources import BRIGHT, LARGE
from skyloom.recipes.lesson import splits_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    survey = sl.ingest("sample", tmp_path_factory.mktemp("real") / "real.lance", catalogue="grid", size=512)
    record = open_run("deep-field").record
    assert record["surveys"][0]["hash"] == survey.content_hash  # the very pieces that it was trained on
    fair = set(survey.table(["object_id"], record["settings"]["where"])["object_id"].to_pylist())
    ids = splits_of([survey], record["settings"]["split"])[0].ids
    return survey, [one for side in ("calibration", "test") for one in ids[side] if one in fair]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    sl.field(folder / "field", "deep-field", (1024, 1536), tile=512, seed=77)
    survey = sl.ingest(folder / "field", folder / "made.lance", catalogue="grid", size=512)
    return survey, survey.table(["object_id"])["object_id"].to_pylist()


def test_magnitudes_colours_and_noise_are_those_of_the_sky(held_out, made):
    painter = painter_of("deep-field")
    limits = {"most_pixels": LARGE, "peak": BRIGHT}
    real, fake = (field_sources(*one, painter.rms, **limits) for one in (held_out, made))
    for band, name in enumerate(real.bands):
        limit = completeness_limit(real.magnitudes[:, band])
        ours, theirs = (one.magnitudes[:, band] for one in (real, fake))
        found = likeness(name, ours[ours < limit], theirs[theirs < limit])
        assert found.p > 0.001, found
        assert abs(found.shift.value) < 3.5 * found.shift.error + 0.02, found
    density = [len(one.x) / one.area for one in (real, fake)]
    assert density[1] / density[0] == pytest.approx(1, abs=0.3)
    assert noise_distance(*(read_images(*one).flux.numpy() for one in (held_out, made))).value < 0.05


def test_every_painter_that_ships_says_how_well_it_does():
    assert "deep-field" in shipped(FACTS)
    for name in shipped(FACTS):
        scores = open_run(name).facts("scores")
        assert scores["fields"] >= 20
        assert len(scores["likeness"]) == 2 * len(scores["bands"])
