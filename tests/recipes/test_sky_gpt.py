"""sky_gpt trained for a moment: killed and resumed, embedded, asked, fine-tuned, and refused what it cannot be."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.data import store
from skyloom.errors import RecipeError, RequestError
from skyloom.infer.embed import encoder_of
from skyloom.nn.sky_gpt import SkyGPT, SkyGPTConfig

SMALL = {"numbers": "mag", "steps": "6", "masked": "0.5"}


@pytest.fixture
def curves(tmp_path):
    path = tmp_path / "curves.csv"
    lines = ["object_id,time,mag,colour"]
    rng = np.random.default_rng(0)
    for k in range(40):
        lines += [f"star{k},{3.0 * t},{15 + k / 20 + 0.1 * rng.normal():.3f},{k / 10}" for t in range(4 + k % 5)]
    path.write_text("\n".join(lines) + "\n")
    return sl.ingest(path, tmp_path / "curves.lance")


def test_one_network_learns_images_numbers_and_light_curves(galaxies, curves, tmp_path):
    settings = {"numbers": "mag,colour", "series": "mag@time", "steps": "12"}
    run = sl.train("sky_gpt", [galaxies, curves], tmp_path / "run", size="smoke", settings=settings)
    facts = run.facts("scaling")
    assert set(facts["losses"]) == {"light", "image", "mag", "colour", "mag@time"}
    assert facts["loss_of"] == "image" and facts["n_tokens"] > 0 and np.isfinite(facts["loss"])
    config = SkyGPTConfig.from_facts(run.facts("tokens")["net"])
    assert facts["n_parameters"] == sum(weight.numel() for weight in SkyGPT(config).parameters())
    made = sl.embed(galaxies, with_=run.path)
    vectors = np.array(made.survey.table([made.column])[made.column].to_pylist())
    assert vectors.shape == (len(galaxies), 2 * config.width) and np.isfinite(vectors).all()
    table = sl.complete(galaxies, with_=run.path)
    assert table.column_names[:3] == ["object_id", "mag", "mag_q05"] and "colour_q95" in table.column_names
    low, middle, high = (table[name].to_numpy() for name in ("mag_q16", "mag", "mag_q84"))
    assert ((low < middle) & (middle < high)).all()
    rest = sl.complete(curves, with_=run.path, say=["mag@time"], first=3)
    lengths = [len(row) for row in rest["mag"].to_pylist()]
    assert lengths == [1 + k % 5 for k in range(40)]
    assert rest["mag_at_time"].to_pylist()[1] == pytest.approx([9.0, 12.0])
    drawn = sl.complete(curves, tmp_path / "drawn.parquet", run.path, say=["mag@time", "colour"], first=3, draws=2)
    assert len(drawn) == 80 and drawn["draw"].to_pylist()[:4] == [0, 1, 0, 1] and (tmp_path / "drawn.parquet").exists()
    assert drawn["colour"][0].as_py() != drawn["colour"][1].as_py()


def test_images_of_every_kind_that_was_learnt_have_vectors(galaxies, tmp_path):
    """A second survey of other bands has its own way in, and its vectors do not depend on which came first."""
    few = store.write(
        tmp_path / "few.lance", replace(galaxies.info, bands=galaxies.info.bands[:1]),
        (replace(one, flux=one.flux[:1], ivar=one.ivar[:1]) for one in galaxies.read()),
    )  # fmt: skip
    run = sl.train("sky_gpt", [galaxies, few], tmp_path / "run", size="smoke", settings={"steps": "4"})
    for survey in (few, galaxies):
        made = sl.embed(survey, with_=run.path)
        assert np.isfinite(np.array(made.survey.table([made.column])[made.column].to_pylist())).all()
    assert encoder_of(run.path, few.info).info.band_names == few.info.band_names
    assert encoder_of(run.path, galaxies.info).info.band_names == galaxies.info.band_names
    other = replace(galaxies.info, pixel_scale=9.0)
    with pytest.raises(RequestError, match="knows pixels of"):
        encoder_of(run.path, other).matched(other)


def test_killed_and_resumed_is_the_uninterrupted_run(galaxies, tmp_path, train_in_two):
    whole = sl.train("sky_gpt", galaxies, tmp_path / "whole", size="smoke", settings=SMALL)
    again = train_in_two(3, "sky_gpt", galaxies, tmp_path / "part", size="smoke", settings=SMALL)
    assert again.hash == whole.hash


@pytest.mark.slow
def test_it_learns_what_an_image_tells_of_a_number(tmp_path):
    """The column is the logarithm of the light: after a minute what is said of unseen objects is near it."""
    from skyloom.data import store

    rng = np.random.default_rng(0)
    y, x = np.indices((16, 16)) - 7.5
    info = sl.SurveyInfo((sl.Band("r", 25.0),), (16, 16), 0.2)

    def rows():
        for k in range(400):
            bright = rng.uniform(1, 3)
            flux = (10**bright / 25 * np.exp(-(x**2 + y**2) / 8) + rng.normal(0, 1, x.shape)).astype(np.float32)[None]
            yield sl.Cutout(str(k), flux, np.ones_like(flux), tile=str(k), columns={"bright": float(bright)})

    survey = store.write(tmp_path / "s.lance", info, rows())
    settings = {"numbers": "bright", "steps": "250", "batch": "32", "warm": "20", "learning_rate": "5e-3"}
    run = sl.train("sky_gpt", survey, tmp_path / "run", size="smoke", settings=settings)
    table = sl.complete(survey, with_=run.path)
    truth = survey.table(["bright"])["bright"].to_numpy()
    miss = table["bright"].to_numpy() - truth
    assert np.abs(miss).mean() < 0.3 * np.abs(truth - np.median(truth)).mean()
    covered = np.mean((table["bright_q16"].to_numpy() < truth) & (truth < table["bright_q84"].to_numpy()))
    assert 0.5 < covered < 0.98


@pytest.mark.parametrize("rank", ["0", "2"])
def test_fine_tuning_starts_from_what_was_learnt(galaxies, tmp_path, rank):
    first = sl.train("sky_gpt", galaxies, tmp_path / "first", size="smoke", settings={"steps": "6"})
    more = {"start": str(first.path), "numbers": "mag", "steps": "4", "low_rank": rank}
    tuned = sl.train("sky_gpt", galaxies, tmp_path / "tuned", size="smoke", settings=more)
    old, new = (run.facts("tokens") for run in (first, tuned))
    assert new["images"] == old["images"] and "mag" in new["numbers"]
    net = open_run(tuned.path).load(SkyGPT(SkyGPTConfig.from_facts(new["net"])))
    base = open_run(first.path).load(SkyGPT(SkyGPTConfig.from_facts(old["net"])))
    moved = (net.layers[0].mixed.weight - base.layers[0].mixed.weight).abs().max()
    assert moved == 0 if rank == "2" else moved > 0
    if rank == "2":
        assert net.layers[0].mixed.up.abs().max() > 0
        assert (net.ends_of("image").content.weight - base.ends_of("image").content.weight).abs().max() == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"crop": "18"}, "multiple of its patches"), ({"context": "5"}, "context=5"), ({"radii": "-1"}, "positive"),
        ({"start": "galaxy-kids"}, "start from a sky_gpt"), ({"series": "mag"}, "values@places"),
        ({"low_rank": "2"}, "set start=RUN"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(galaxies, tmp_path, settings, said):
    with pytest.raises(RecipeError, match=said):
        sl.train("sky_gpt", galaxies, tmp_path / "run", size="smoke", settings=settings)


def test_a_survey_with_nothing_to_read_is_refused(curves, tmp_path):
    with pytest.raises(RequestError, match="too small for crop=16"):
        sl.train("sky_gpt", curves, tmp_path / "run", size="smoke")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"say": ["flavour"]}, "knows no flavour"), ({"say": ["mag"], "given": ["mag"]}, "cannot be asked"),
        ({"given": ["colour"]}, "has no colour"), ({"draws": -1}, "draws=-1"),
        ({"with_": "galaxy-kids"}, "no use of tokens"), ({"say": ["mag"], "first": -1}, "first=-1"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_before_any_work(galaxies, tmp_path, asked, said):
    settings = {"numbers": "mag", "steps": "2"}
    run = sl.train("sky_gpt", galaxies, tmp_path / "run", size="smoke", settings=settings)
    facts = run.facts("tokens")
    facts["numbers"]["colour"] = facts["numbers"]["mag"]
    (run.path / "tokens.json").write_text(json.dumps(facts))
    with pytest.raises(RequestError, match=said):
        sl.complete(galaxies, tmp_path / "out.parquet", asked.pop("with_", run.path), **asked)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(galaxies, curves, tmp_path):
    """The same curve to rounding, and the same network, whether one process sees a batch or two see half of it each."""
    settings = {"numbers": "mag,colour", "series": "mag@time", "steps": "50", "learning_rate": "1e-3"}
    one, *others = [
        sl.train("sky_gpt", [galaxies, curves], tmp_path / how, size="smoke", settings=settings, **more)
        for how, more in {"1": {}, "2": {"devices": 2}, "sharded": {"devices": 2, "shard": True}}.items()
    ]
    for two in others:
        told, said = (json.loads((run.path / "losses.jsonl").read_text().splitlines()[0]) for run in (one, two))
        for name in ("light", "image", "mag", "colour", "mag@time"):
            assert said[name] == pytest.approx(told[name], rel=1e-3, abs=1e-4)
        for name, (loss, *_) in one.facts("scaling")["losses"].items():
            assert two.facts("scaling")["losses"][name][0] == pytest.approx(loss, rel=2e-3)


@pytest.mark.slow
def test_processes_that_share_a_network_go_on_where_they_were_killed(galaxies, tmp_path, train_in_two):
    """Also as one process that has all of it: what is kept is whole."""
    more = {"size": "smoke", "settings": SMALL}
    whole = sl.train("sky_gpt", galaxies, tmp_path / "whole", **more, devices=2, shard=True)
    again = train_in_two(3, "sky_gpt", galaxies, tmp_path / "part", **more, devices=2, shard=True)
    assert again.hash == whole.hash
    alone = sl.train("sky_gpt", galaxies, tmp_path / "alone", **more)
    for key, weight in load_file(alone.path / "weights.safetensors").items():
        assert load_file(whole.path / "weights.safetensors")[key].float() == pytest.approx(weight.float(), abs=2e-3)


def test_recipes_that_cannot_share_say_so(galaxies, tmp_path):
    with pytest.raises(RecipeError, match="trains in one process"):
        sl.train("simclr", galaxies, tmp_path / "run", size="smoke", devices=2)
    with pytest.raises(RequestError, match="nobody to share with"):
        sl.train("sky_gpt", galaxies, tmp_path / "run", size="smoke", shard=True)
    with pytest.raises(RequestError, match="at least one"):
        sl.train("sky_gpt", galaxies, tmp_path / "run", size="smoke", devices=0)
    assert not (tmp_path / "run").exists()
