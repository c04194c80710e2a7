"""The tour on the real field: everything is there afterwards, measured, timed, and the same the second time."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import skyloom as sl
from skyloom.data import store
from skyloom.data.mosaic import Target
from skyloom.data.sample import read_sample
from skyloom.errors import StoreError
from skyloom.recipes.tour import FRAME, SIDES, Diary, frame_side, largest_galaxies
from skyloom.recipes.tour_looks import FLAGS, said_of, strongest, with_neighbours
from skyloom.report.profiles import troubled


def target(name, radius, **flags):
    columns = {
        "is_extended": True,
        "is_star": False,
        "is_saturated": False,
        "in_halo": False,
        "half_light_radius": radius,
    }
    return Target(name, 0.0, 0.0, columns={**columns, **flags})


def test_stars_spikes_and_small_sources_are_not_among_the_largest_galaxies():
    others = [{"is_extended": False}, {"is_star": True}, {"is_saturated": True}, {"in_halo": True}]
    sources = [target("small", 2.0), target("large", 9.0), *(target("no", 99.0, **flag) for flag in others)]
    assert [source.object_id for source in largest_galaxies(sources)] == ["large", "small"]
    assert [source.object_id for source in largest_galaxies(sources, 1)] == ["large"]


@pytest.mark.parametrize("radius", [0.5, 12.8, 12.9, 51.0, 400.0])
def test_a_frame_holds_its_galaxy_unless_none_can(radius):
    assert frame_side(radius) == SIDES[-1] or FRAME * radius <= frame_side(radius)
    assert frame_side(radius) in SIDES


def test_a_diary_times_its_steps_in_order():
    diary = Diary()
    with diary.step("first") as remarks:
        remarks.append("two things")
    with diary.step("second"):
        pass
    assert [(step.name, step.remark) for step in diary.steps] == [("first", "two things"), ("second", "")]
    assert all(step.seconds >= 0 for step in diary.steps)


def test_a_survey_that_the_tour_would_not_make_is_left_alone(tmp_path):
    info = replace(read_sample(size=64).info, source="mine")
    mine = store.write(tmp_path / "kids.lance", info, [])
    with pytest.raises(StoreError, match="choose another folder"):
        sl.tour(tmp_path)
    assert sl.open(mine.path).info.source == "mine"


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "tour").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be made a folder"):
        sl.tour(tmp_path / "tour")


def facts(**more):
    fluxes = {f"flux_{band}": 1.0 for band in "gri"} | {f"flux_error_{band}": 1.0 for band in "gri"}
    return {"object_id": "a", "x": 0.0, "y": 0.0, "beside": 0.0} | dict.fromkeys(FLAGS, False) | fluxes | more


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (facts(flux_r=9.0, flux_g=9.0), "nothing out of the ordinary"),
        (facts(flux_r=9.0), "light in r alone"),
        (facts(), "no light above the noise in any band"),
        (facts(flux_r=9.0, flux_g=9.0, is_cut=True, beside=100.0),
         "cut off by an edge or a defect, beside a source 5.0 mag brighter"),
    ],
)  # fmt: skip
def test_columns_say_what_may_be_odd_about_an_object(row, words):
    assert said_of(row, "gri") == words


def test_the_brightest_neighbour_within_reach_counts():
    places = {"a": (0.0, 2.0), "b": (10.0, 6.0), "c": (16.0, 40.0), "d": (16.5, 80.0)}  # x, light
    rows = [facts(object_id=name, x=x, flux_r=light) for name, (x, light) in places.items()]
    found = with_neighbours(pa.Table.from_pylist(rows))
    assert {name: row["beside"] for name, row in found.items()} == pytest.approx(
        {"a": 20.0, "b": 80 / 6, "c": 2.0, "d": 0.5}
    )


def test_an_axis_is_named_after_what_goes_along_with_it_best():
    rng = np.random.default_rng(0)
    names = ("mag_r", "mag_g", "half_light_radius", "ellipticity", "beside")
    rows = [dict(zip(names, values.tolist(), strict=True)) for values in rng.normal(size=(40, 5))]
    rows[3]["half_light_radius"] = None
    values = np.array([-((row["half_light_radius"] or 0) ** 3) for row in rows])
    assert strongest(values, rows) == ("the half-light radius", pytest.approx(-1))


@pytest.mark.slow
def test_the_tour_tells_the_whole_story_and_can_be_taken_twice(tmp_path):
    first = sl.tour(tmp_path / "tour")
    table = pq.read_table(first["table"])
    assert first["galaxies"] == 200 and first["profiles"] == len(table) == 1800
    rows = [row for row in table.to_pylist() if row["band"] == "r"]
    measured = [row for row in rows if row["mag"] < 26 and len(row["sma"]) > 3]
    assert len(measured) > 190
    sized = [row["r_e"] > 0 for row in rows]  # of the others, half of the light lies beyond the last isophote
    assert sum(sized) > 150 and all(known or troubled(row["flag"]) for row, known in zip(rows, sized, strict=True))
    assert first["elapsed"] == pytest.approx(sum(first["seconds"].values()), abs=0.1) and first["elapsed"] > 1
    page = (tmp_path / "tour" / "report.html").read_text(encoding="utf-8")
    assert len(page) < 8e6 and "KiDS" in page and "Every object" in page
    learned = pq.read_table(first["learned"])
    assert len(learned) == 200 and learned.schema.metadata[b"engine"] == b"profile-decoder"
    assert "Two engines on the same galaxies" in page
    for words in ("The survey on one sheet", "Galaxies that look alike", "The oddest objects"):
        assert words in page
    before = (tmp_path / "tour" / "profiles.parquet").read_bytes()
    second = sl.tour(tmp_path / "tour")
    assert json.loads((tmp_path / "tour" / "tour.json").read_text())["elapsed"] == second["elapsed"]
    assert (tmp_path / "tour" / "profiles.parquet").read_bytes() == before
    assert second["surveys"] == first["surveys"] and "ingest" in second["seconds"]
    assert not [path for path in (tmp_path / "tour").iterdir() if path.name.startswith(".")]
