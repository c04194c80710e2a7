"""Batches: a function of the survey, the seed and the step; blind to bad pixels; undone without loss."""

import itertools

import numpy as np
import pytest

import skyloom as sl
from skyloom.data import store
from skyloom.data.batches import UNCHANGED, Augment, batches, undo
from skyloom.errors import CatalogueError, CutoutError, RequestError

torch = pytest.importorskip("torch")
TURNED = Augment(symmetry=True, shift=0.0, crop=False)


def take(survey, n, **arguments):
    return list(itertools.islice(batches(survey, **{"size": 32, "batch": 3, "seed": 7, **arguments}), n))


def same(one, other):
    return one.ids == other.ids and all(
        getattr(one, name).numpy().tobytes() == getattr(other, name).numpy().tobytes()
        for name in ("flux", "ivar", "sky", "sky_rms", "rows")
    )


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_no_byte(tiny_survey, workers):
    alone = take(tiny_survey, 9, workers=0)
    assert all(map(same, alone, take(tiny_survey, 9, workers=workers)))


@pytest.mark.parametrize("start", [1, 2, 5])
def test_a_run_resumed_at_step_k_sees_what_the_whole_run_saw(tiny_survey, start):
    whole = take(tiny_survey, 9)
    assert all(map(same, whole[start:], take(tiny_survey, 9 - start, start=start)))


def test_each_epoch_sees_every_object_once_in_another_order(tiny_survey):
    rows = torch.cat([batch.rows for batch in take(tiny_survey, 8)]).numpy().reshape(3, 8)
    assert all(sorted(epoch) == list(range(8)) for epoch in rows)
    assert len({tuple(epoch) for epoch in rows}) == 3


def test_another_seed_gives_other_batches(tiny_survey):
    one, other = take(tiny_survey, 1)[0], take(tiny_survey, 1, seed=8)[0]
    assert not same(one, other)


def test_an_epoch_ends_with_a_smaller_batch(tiny_survey):
    assert [len(batch.rows) for batch in take(tiny_survey, 99, epochs=1)] == [3, 3, 2]
    assert [len(batch.rows) for batch in take(tiny_survey, 99, epochs=2, start=4)] == [3, 1]


def test_the_same_object_looks_different_in_the_next_epoch(tiny_survey):
    first, second = take(tiny_survey, 2, batch=8)
    match = [second.ids.index(name) for name in first.ids]
    assert not torch.equal(first.flux, second.flux[match])


@pytest.mark.parametrize("augment", [UNCHANGED, TURNED])
@pytest.mark.parametrize("stretch", [True, False])
def test_undo_gives_the_flux_back(tiny_survey, augment, stretch):
    batch = take(tiny_survey, 1, size=64, augment=augment, stretch=stretch)[0]
    flux, _ = tiny_survey.cutouts_at(batch.rows.numpy())
    good = (batch.ivar > 0).numpy()
    undone = undo(batch).numpy()
    assert good.mean() > 0.99
    if augment is UNCHANGED:
        np.testing.assert_allclose(undone[good], flux[good], rtol=1e-5, atol=1e-5)
    for image, original, seen in zip(undone, flux, good, strict=True):  # a symmetry keeps the set of values
        np.testing.assert_allclose(np.sort(image[seen]), np.sort(original[np.isfinite(original)]), rtol=1e-5, atol=1e-5)


def test_the_sky_of_a_batch_is_at_zero_with_unit_noise(tiny_survey):
    batch = take(tiny_survey, 1, size=64, augment=UNCHANGED, stretch=False)[0]
    edge = batch.flux[..., -6:, :][batch.ivar[..., -6:, :] > 0]
    assert abs(edge.mean()) < 0.2 and 0.9 < edge.std() < 1.1
    assert batch.ivar[batch.ivar > 0].mean() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("augment", [UNCHANGED, Augment()])
def test_no_value_under_ivar_zero_reaches_a_batch(tiny_survey, tmp_path, augment):
    def spoiled(value):
        for cutout in tiny_survey.read():
            flux, ivar = cutout.flux.copy(), cutout.ivar.copy()
            ivar[:, 20:24, 28:40] = 0
            flux[ivar == 0] = value
            yield sl.Cutout(cutout.object_id, flux, ivar)

    seen = []
    for value in (0.0, 1e30, np.nan, -np.inf):
        survey = store.write(tmp_path / f"{value}.lance", tiny_survey.info, spoiled(value))
        seen.append(take(survey, 3, size=48, augment=augment))
    for batch in seen[0]:
        assert (batch.ivar == 0).any() and torch.isfinite(batch.flux).all()
        assert (batch.flux[batch.ivar == 0] == 0).all()
    for others in seen[1:]:
        assert all(map(same, seen[0], others))


def test_a_sky_that_the_survey_knows_is_used_and_not_measured(tiny_survey, tmp_path):
    def known():
        for cutout in tiny_survey.read():
            facts = {"sky": np.float32([1, 2, 3]), "sky_rms": np.float32([4, 5, 6])}
            yield sl.Cutout(cutout.object_id, cutout.flux, cutout.ivar, **facts)

    batch = take(store.write(tmp_path / "known.lance", tiny_survey.info, known()), 1, bands=["i", "g"])[0]
    assert batch.flux.shape == (3, 2, 32, 32)
    assert (batch.sky == torch.tensor([3.0, 1.0])).all() and (batch.sky_rms == torch.tensor([6.0, 4.0])).all()


def test_a_blank_cutout_is_all_bad_and_harms_nobody(tmp_path):
    info = sl.SurveyInfo((sl.Band("r"),), (8, 8))
    flux = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    cutouts = [sl.Cutout("dead", flux[0], 0 * flux[0]), sl.Cutout("alive", flux[1], 0 * flux[1] + 1)]
    batch = take(store.write(tmp_path / "blank.lance", info, cutouts), 1, size=8, batch=2, augment=UNCHANGED)[0]
    dead, alive = batch.ids.index("dead"), batch.ids.index("alive")
    assert not batch.flux[dead].any() and not batch.ivar[dead].any() and batch.sky_rms[dead] == 1
    assert batch.ivar[alive].all()


def test_only_the_objects_asked_for_come(tiny_survey):
    chosen = ["galaxy-6", "galaxy-1", "galaxy-3"]
    for batch in take(tiny_survey, 4, ids=chosen):
        assert sorted(batch.ids) == sorted(chosen)
        assert all(tiny_survey.table(["object_id"])["object_id"][int(row)].as_py() in chosen for row in batch.rows)


def test_a_batch_moves_to_a_device_as_one(tiny_survey):
    moved = take(tiny_survey, 1)[0].to("meta")
    assert moved.flux.device.type == moved.sky_rms.device.type == "meta" and len(moved.ids) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"size": 65}, RequestError),
        ({"size": 0}, RequestError),
        ({"batch": 0}, RequestError),
        ({"start": -1}, RequestError),
        ({"ids": []}, RequestError),
        ({"ids": ["nobody"]}, CatalogueError),
        ({"bands": ["K"]}, CutoutError),
    ],
)
def test_batches_that_cannot_be_made_are_refused_before_the_first(tiny_survey, arguments, error):
    with pytest.raises(error):
        batches(tiny_survey, **{"size": 32, "batch": 3, "seed": 0, **arguments})


def test_an_iterator_left_early_leaves_no_thread_behind(tiny_survey):
    import threading

    stream = batches(tiny_survey, 32, 3, seed=0, workers=2)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
