"""From a survey to weights that classify, by both recipes: labels, votes, interruption, calibration, refusals."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.cli.main import app
from skyloom.data import store
from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.data.decision_tree import COLUMNS, KAGGLE, fractions_of, inconsistency
from skyloom.data.labels import read_labels
from skyloom.data.splits import split
from skyloom.errors import RecipeError, RequestError, RunError
from skyloom.infer.looks import LEVELS, Look, eye_of, half_widths
from skyloom.metrics.baselines import mean_fractions
from skyloom.metrics.classification import fraction_error
from skyloom.metrics.score import mean
from skyloom.recipes.looking import SIDES, factors_of, temperature_of
from skyloom.recipes.training import train

SHORT = {"morphology": {"steps": "6", "members": "2"}, "galaxy_zoo": {"steps": "4", "top": "2"}}
N = 60


def picture(round_: bool, rng, side=48):
    """A round or a long smooth source on noise, in 8 bits as pictures are."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    angle = rng.uniform(0, np.pi)
    across = -x * np.sin(angle) + y * np.cos(angle)
    along = x * np.cos(angle) + y * np.sin(angle)
    light = 180 * np.exp(-np.hypot(along / (5 if round_ else 10), across / (5 if round_ else 2.5)))
    return np.clip(light + rng.normal(10, 3, (2, side, side)), 0, 255).round().astype(np.float32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty of them, half of them round."""
    info = SurveyInfo(
        tuple(Band(name, None, None, "uint8 (display stretch)") for name in "RG"), (48, 48), None, "test", "", "", ()
    )
    rng = np.random.default_rng(0)
    cutouts = []
    for k in range(N):
        flux = picture(k % 2 == 0, rng)
        cutouts.append(Cutout(f"g{k}", flux, np.full_like(flux, 0.1), tile=f"g{k}", columns={"label": int(k % 2 == 0)}))
    return store.write(tmp_path_factory.mktemp("pictures") / "pictures.lance", info, iter(cutouts))


@pytest.fixture(scope="module")
def votes(pictures, tmp_path_factory):
    """Kaggle's table for the same pictures: the round ones are completely round, the others cigar-shaped discs."""
    file = tmp_path_factory.mktemp("votes") / "training_solutions_rev1.csv"
    rows = []
    for k in range(N):
        row = dict.fromkeys(COLUMNS, 0.0)
        row |= {"Class1_1": 0.9, "Class1_2": 0.1, "Class2_1": 0.1, "Class6_2": 1.0, "Class9_1": 0.1}
        row["Class7_1" if k % 2 == 0 else "Class7_3"] = 0.9
        rows.append({"GalaxyID": f"g{k}"} | {name.replace("_", "."): value for name, value in row.items()})
    pyarrow.csv.write_csv(pyarrow.Table.from_pylist(rows), file)
    return file


@pytest.fixture(scope="module")
def runs(pictures, votes, tmp_path_factory):
    """A short run of each recipe on labels and on votes."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for recipe, settings in SHORT.items():
        for what, extra in (("label", {}), ("votes", {"labels": str(votes)})):
            made[recipe, what] = train(
                recipe, pictures, folder / f"{recipe}-{what}", size="smoke", settings=settings | extra
            )
    return made


@pytest.mark.parametrize("recipe", SHORT)
def test_a_run_that_learnt_a_label_gives_its_chance(runs, pictures, recipe, tmp_path):
    out = tmp_path / "looks.parquet"
    answer = CliRunner().invoke(
        app, ["classify", str(pictures.path), "--out", str(out), "--with", str(runs[recipe, "label"].path), "--json"]
    )
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout.splitlines()[-1])["galaxies"] == N
    table = pyarrow.parquet.read_table(out)
    assert table.column_names == ["object_id", "label", "probability", "probability_error"]
    assert table["object_id"].to_pylist() == [f"g{k}" for k in range(N)]
    chance = table["probability"].to_numpy()
    assert ((chance >= 0) & (chance <= 1)).all() and (table["probability_error"].to_numpy() >= 0).all()
    assert [label == "1" for label in table["label"].to_pylist()] == (chance > 0.5).tolist()


@pytest.mark.parametrize("recipe", SHORT)
def test_a_run_that_learnt_votes_gives_37_fractions_that_add_up_and_kaggles_file(runs, pictures, recipe, tmp_path):
    table = sl.classify(
        pictures, tmp_path / "votes.fits", runs[recipe, "votes"].path, submission=tmp_path / "submission.csv"
    )
    fractions = np.stack([table[name].to_numpy() for name in COLUMNS], 1)
    np.testing.assert_allclose(inconsistency(fractions), 0, atol=1e-9)
    for name in COLUMNS:
        ends = [table[f"{name}_{mark}"].to_numpy() for mark in ("q05", "q16", "q84", "q95")]
        assert ((ends[0] <= ends[1] + 1e-9) & (ends[2] <= ends[3] + 1e-9)).all()
        assert ((ends[1] <= table[name].to_numpy()) & (table[name].to_numpy() <= ends[2])).all()
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines[0].split(",") == ["GalaxyID", *KAGGLE] and len(lines) == N + 1
    np.testing.assert_allclose([float(v) for v in lines[3].split(",")[1:]], fractions[2], atol=1e-6)


@pytest.fixture(scope="module")
def vectors(pictures, tmp_path_factory):
    """A short run of simclr on the same pictures, of an encoder of other widths than morphology's."""
    settings = {"steps": "2", "widths": "1,2,2,3", "first": "6", "blur": "0"}
    return train("simclr", pictures, tmp_path_factory.mktemp("vectors") / "vectors", size="smoke", settings=settings)


def test_a_run_begins_from_the_encoder_of_another_recipe_in_its_stretch(pictures, vectors, tmp_path):
    settings = {"steps": "1", "members": "2", "learning_rate": "0", "start": str(vectors.path)}
    run = train("morphology", pictures, tmp_path / "run", size="smoke", settings=settings)
    facts = run.facts("looks")
    assert facts["net"]["encoder"]["widths"] == [1, 2, 2, 3] and facts["scaling"] == vectors.facts("encoder")["scaling"]
    theirs = load_file(vectors.path / "weights.safetensors")
    for name, value in load_file(run.path / "weights.safetensors").items():
        member, _, rest = name.partition(".")
        if rest.startswith("encoder.") and "weight" in rest and member in "01":
            assert torch.equal(value, theirs[rest]), name


def test_a_run_begins_from_the_heads_too_if_they_answer_the_same(pictures, runs, votes, tmp_path):
    settings = {"steps": "1", "members": "3", "learning_rate": "0", "momentum": "1"}
    first = runs["morphology", "label"]
    again = {"start": str(first.path)}
    same = train("morphology", pictures, tmp_path / "same", size="smoke", settings=settings | again)
    other = train(
        "morphology", pictures, tmp_path / "other", size="smoke", settings=settings | again | {"labels": str(votes)}
    )
    theirs, ours, new = (load_file(run.path / "weights.safetensors") for run in (first, same, other))
    for name, value in ours.items():
        member, _, rest = name.partition(".")
        if rest.endswith(("weight", "bias")):
            assert torch.equal(value, theirs[f"{int(member) % 2}.{rest}"]), name
    assert torch.equal(new["2.encoder.stages.0.weight"], theirs["0.encoder.stages.0.weight"])
    assert new["0.head.answers.weight"].shape[0] == 37
    assert sl.classify(pictures, with_=same.path).num_columns == 4


def test_runs_that_nothing_can_begin_from_are_refused_before_anything_is_written(pictures, runs, vectors, tmp_path):
    zoo = runs["galaxy_zoo", "label"].path
    one = store.write(tmp_path / "one.lance", replace(pictures.info, bands=pictures.info.bands[::-1]), pictures.read())
    cases = [
        (pictures, zoo, "begins from runs of simclr or morphology"),
        (one, vectors.path, "learnt from R, G, and these images are G, R"),
        (one, runs["morphology", "label"].path, "begin from a run on the same bands"),
    ]
    for survey, start, words in cases:
        with pytest.raises(RecipeError, match=words):
            train("morphology", survey, tmp_path / "run", size="smoke", settings={"start": str(start)})
    with pytest.raises(RunError, match="neither a run directory"):
        train("morphology", pictures, tmp_path / "run", size="smoke", settings={"start": "nothing"})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", SHORT)
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(runs, pictures, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("skyloom.recipes.training.SAVE", 0.0)

    def stop(done, total, what):
        if what == "steps" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, pictures, tmp_path / "run", size="smoke", settings=SHORT[recipe], progress=stop)
    run = train(recipe, pictures, tmp_path / "run", size="smoke", settings=SHORT[recipe])
    whole = runs[recipe, "label"].path
    assert (run.path / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert (run.path / "looks.json").read_bytes() == (whole / "looks.json").read_bytes()


def test_several_runs_are_averaged(runs, pictures):
    both = [runs[recipe, "label"].path for recipe in SHORT]
    each = [sl.classify(pictures, with_=one)["probability"].to_numpy() for one in both]
    found = sl.classify(pictures, with_=both)["probability"].to_numpy()
    np.testing.assert_allclose(found, np.mean(each, 0), atol=1e-9)


def test_a_turned_picture_has_the_same_chance(runs, pictures, tmp_path):
    turned = store.write(
        tmp_path / "turned.lance", pictures.info,
        (
            Cutout(one.object_id, np.rot90(one.flux, 1, (1, 2)).copy(), np.rot90(one.ivar, 1, (1, 2)).copy(),
                   tile=one.tile, sky=one.sky, sky_rms=one.sky_rms)
            for one in pictures.read()
        ),
    )  # fmt: skip
    before, after = (
        sl.classify(survey, with_=runs["morphology", "label"].path)["probability"].to_numpy()
        for survey in (pictures, turned)
    )
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_an_object_without_a_sound_image_has_an_empty_row(runs, pictures, tmp_path):
    def spoilt():
        for k, one in enumerate(pictures.read()):
            ivar = np.zeros_like(one.ivar) if k == 3 else one.ivar
            yield Cutout(one.object_id, one.flux, ivar, tile=one.tile, sky=one.sky, sky_rms=one.sky_rms)

    survey = store.write(tmp_path / "spoilt.lance", pictures.info, spoilt())
    table = sl.classify(survey, with_=runs["morphology", "label"].path)
    assert len(table) == N and table["label"].to_pylist()[3] is None
    assert np.flatnonzero(np.isnan(table["probability"].to_numpy())).tolist() == [3]
    with pytest.raises(RequestError, match="'g3' and 0 others have no fractions"):
        sl.classify(survey, with_=runs["morphology", "votes"].path, submission=tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()


def test_weights_that_do_not_suit_are_refused_before_any_work(runs, pictures, tmp_path):
    label, votes = runs["morphology", "label"].path, runs["morphology", "votes"].path
    with pytest.raises(RequestError, match="learnt different things"):
        sl.classify(pictures, with_=[label, votes])
    with pytest.raises(RequestError, match="give weights that learnt votes"):
        sl.classify(pictures, with_=label, submission=tmp_path / "s.csv")
    with pytest.raises(RequestError, match="classifies nothing"):
        sl.classify(pictures, with_="galaxy-mock")
    with pytest.raises(RequestError, match="no weights 'nobody'"):
        sl.classify(pictures, with_="nobody")
    with pytest.raises(RequestError, match="needs weights"):
        sl.classify(pictures, with_=[])
    rng = np.random.default_rng(1)
    small = store.write(
        tmp_path / "small.lance",
        SurveyInfo(pictures.info.bands, (40, 40), None, "", "", "", ()),
        (Cutout(f"{k}", f := picture(True, rng, 40), np.full_like(f, 0.1), tile=f"{k}") for k in range(3)),
    )
    with pytest.raises(RequestError, match="looks at 48 × 48 pixels"):
        sl.classify(small, with_=label)
    scaled = store.write(
        tmp_path / "scaled.lance",
        SurveyInfo(pictures.info.bands, (48, 48), 0.4, "", "", "", ()),
        (Cutout(f"{k}", f := picture(True, rng), np.full_like(f, 0.1), tile=f"{k}") for k in range(3)),
    )
    with pytest.raises(RequestError, match="pixels of no stated size"):
        sl.classify(scaled, with_=label)
    assert len(sl.classify(scaled, with_=label, anyway=True)) == 3


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"target": "nothing"}, RequestError, "no column 'nothing'"),
        ({"target": "true"}, RequestError, "is no mock"),
        ({"zoom": "0.5"}, RecipeError, "a zoom is 1 or more"),
        ({"side": "30"}, RecipeError, "a multiple of"),
    ],
)
def test_what_cannot_be_learnt_is_refused(pictures, tmp_path, settings, error, words):
    with pytest.raises(error, match=words):
        train("morphology", pictures, tmp_path / "run", size="smoke", settings=settings)


def test_the_quarter_that_is_judged_is_seen_by_neither_training_nor_calibration(runs, pictures):
    facts = runs["morphology", "label"].facts("looks")
    sides = split(pictures, SIDES, 0).ids
    assert len(sides["test"]) == N / 4 and facts["images"] == len(sides["train"])
    assert facts["calibration"]["objects"] == len(sides["calibration"])
    other = open_run(runs["galaxy_zoo", "label"].path).record["settings"]
    assert other["split"] == 0 and other["seed"] == 0  # another seed leaves the split alone


def test_the_temperature_is_the_one_that_chances_were_spoilt_by():
    rng = np.random.default_rng(4)
    logits = 2 * rng.standard_normal(4000)
    classes = (rng.random(4000) < 1 / (1 + np.exp(-logits))).astype(int)
    sure = 1 / (1 + np.exp(-3 * logits))
    assert temperature_of(np.stack([1 - sure, sure], 1), classes) == pytest.approx(3, rel=0.1)


def test_calibrated_intervals_hold_on_new_objects():
    rng = np.random.default_rng(5)

    def objects(n):
        mean = rng.uniform(0.3, 0.7, (n, 37))
        return Look(mean, np.full((n, 37), 0.05)), mean + rng.normal(0, 0.03, (n, 37))

    look, target = objects(400)
    new, truth = objects(2000)
    for level in LEVELS:
        half = half_widths(new, factors_of(look, target, level))
        assert (np.abs(truth - new.mean) <= half).mean() == pytest.approx(level, abs=0.02)


def test_looks_that_nobody_saved_are_no_looks():
    with pytest.raises(RequestError, match="which classifies nothing"):
        eye_of(open_run("profile-decoder"))


@pytest.mark.slow
def test_round_and_long_sources_are_told_apart_by_our_network(pictures, tmp_path):
    settings = {"steps": "150", "batch": "16", "warm": "10", "momentum": "0.9", "learning_rate": "1e-2"}
    run = train("morphology", pictures, tmp_path / "run", size="smoke", settings=settings)
    test = split(pictures, SIDES, 0).ids["test"]
    table = sl.classify(pictures, with_=run.path, ids=test)
    truth = [int(name[1:]) % 2 == 0 for name in test]
    assert np.mean([(label == "1") == t for label, t in zip(table["label"].to_pylist(), truth, strict=True)]) > 0.9


@pytest.mark.slow
def test_votes_on_mocks_are_told_better_than_by_the_mean_galaxy(tmp_path):
    """The path of 37 answers: mocks whose truth decides the votes, and an error below that of knowing only the mean."""
    pytest.importorskip("galsim")
    mocks = sl.mock(tmp_path / "mocks.lance", 800, size=128, bands="gri", seed=8)
    settings = {"target": "true", "bin": "2", "members": "1", "steps": "150", "warm": "20", "momentum": "0.95"}
    run = train("morphology", mocks, tmp_path / "run", size="laptop", settings=settings)
    sides = split(mocks, SIDES, 0).ids
    labels = read_labels(mocks, "true")
    known, truth = (fractions_of(labels.of(sides[side])) for side in ("train", "test"))
    table = sl.classify(mocks, with_=run.path, ids=sides["test"])
    found = np.stack([table[name].to_numpy() for name in COLUMNS], 1)
    gain = (mean_fractions(known, len(truth)) - truth) ** 2 - (found - truth) ** 2
    better = mean(np.nanmean(gain, 1))
    assert better.value > 2 * better.error
    assert (
        fraction_error(found, truth).score.value
        < 0.97 * fraction_error(mean_fractions(known, len(truth)), truth).score.value
    )
