"""Two engines on one survey: which tables are set beside each other, and what is said where one is silent."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import skyloom as sl
from skyloom.infer.profiles import profile
from skyloom.metrics.profiles import QUANTILES
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.engines import Duel, draw_duel, duels, running
from skyloom.report.measurements import Measured, profiles_chapter

SIGMA = 0.05  # [mag/arcsec²] of the invented engines
SHAPES = ("sb_error", "ellipticity", "ellipticity_error", "pa", "pa_error", "cog")
SCALARS = ("x", "y", "mag", "mag_error", "r_e", "r_e_error", "r_26", "sky", "sky_error")


def invented(table: pa.Table, engine: str, shift: float = 0.0, silent: bool = False) -> pa.Table:
    """What another engine might say of the same galaxies: a little noise, and quantiles; or nothing but light."""
    rng, rows = np.random.default_rng(0), []
    for row in table.to_pylist():
        sb = np.array(row["sb"], float) + shift
        sb += rng.normal(0, SIGMA, len(sb))
        row |= {"sb": sb, "sb_error": np.full(len(sb), SIGMA)}
        row |= {name: sb + SIGMA * z for name, z in zip(QUANTILES.values(), (-1.645, -1, 1, 1.645), strict=True)}
        if silent:
            row |= {name: np.full(len(sb), np.nan) for name in SHAPES} | dict.fromkeys(SCALARS, np.nan)
        rows.append(row)
    schema = table.schema
    for name in () if silent else QUANTILES.values():
        schema = schema.append(pa.field(name, pa.list_(pa.float64())))
    return pa.Table.from_pylist(rows, schema.with_metadata({**table.schema.metadata, b"engine": engine.encode()}))


@pytest.fixture(scope="module")
def tables(tiny_survey_once):
    table = profile(tiny_survey_once, band="r", ids=[f"galaxy-{n}" for n in range(2)])
    made = [table, invented(table, "profile_decoder"), invented(table, "pix2prof", 0.3, silent=True)]
    survey = sl.open(tiny_survey_once)
    return [Measured(f"{one.schema.metadata[b'engine'].decode()}.parquet", one, (survey,)) for one in made]


@pytest.fixture(scope="module")
def page(tables, tiny_survey_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rivals")
    for one in tables:
        pq.write_table(one.table, folder / one.name)
    out = sl.report([tiny_survey_once, *(folder / one.name for one in tables)], folder / "report.html")
    return out.read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """The text of the chapters whose title begins so."""
    found = re.findall(rf"<section[^>]*><h2>{title}.*?</section>", page, re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", " ".join(found)).split())


def test_every_engine_is_set_beside_isophotes_whatever_the_order(tables):
    for order in (tables, tables[::-1]):
        found = [duel.names for duel in duels(order)]
        assert sorted(found) == [("isophotes", "pix2prof"), ("isophotes", "profile_decoder")]
    assert [duel.names for duel in duels(tables[1:])] == [("profile_decoder", "pix2prof")]


def test_one_engine_or_two_surveys_are_no_duel(tables):
    one, other = tables[:2]
    foreign = other.table.replace_schema_metadata({**other.table.schema.metadata, b"survey_hash": b"abc"})
    assert duels([one, one]) == [] and duels([one, Measured("foreign", foreign, ())]) == []
    nobody = other.table.filter(pa.compute.equal(other.table["object_id"], "nobody"))
    assert duels([one, Measured("nobody", nobody, ())]) == []


def test_the_page_has_a_chapter_on_each_pair(page):
    text = section(page, "Two engines on the same galaxies")
    assert "isophotes and profile_decoder measured the same pixels" in text and "2 galaxies have a profile" in text
    assert page.count("by two engines") == 4  # one figure a galaxy and pair


def test_the_page_has_no_number_that_is_none_and_no_colour_that_is_fixed(page):
    text = section(page, "")
    assert not re.search(r"\b(nan|inf|none)\b", text.replace("none stated", ""), re.I) and "#0b0b" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_known_shift_is_the_number_in_the_table(page, tables):
    text = section(page, "Two engines on the same galaxies: isophotes.parquet, pix2prof.parquet")
    shift = float(re.search(r"below 26.5 [\d,]+ \d+ ([\d.]+)", text)[1])
    assert shift == pytest.approx(0.3, abs=0.02)
    assert Duel(tables[0], tables[2]).points.deviation.mean() == pytest.approx(0.3, abs=0.01)


def test_what_an_engine_does_not_state_is_said_and_not_drawn(page, tables):
    assert "pix2prof states no totals, sizes or shapes" in section(page, "The population: pix2prof")
    assert "no half-light radius" in section(page, "What failed, and why: pix2prof")
    assert "it states no shapes" in profiles_chapter(tables[2], "Profiles", "p").body
    assert "it states no shapes" not in section(page, "Profiles")


def test_a_challenger_has_a_duel_and_no_chapters_of_galaxies_that_were_shown_already(page):
    titles = re.findall(r"<h2[^>]*>([^<]+)", page)
    assert sum(title.startswith("Every object") for title in titles) == 1
    assert sum(title.startswith("Two engines") for title in titles) == 2


def test_the_largest_galaxies_of_the_first_are_shown_with_the_row_of_the_second(tables):
    rows = Duel(tables[0], tables[1]).rows(2)
    assert [one["object_id"][0].as_py() for one, _ in rows] == [row["object_id"] for row in tables[0].largest(2)]
    assert all(one["object_id"].equals(other["object_id"]) and one["band"].equals(other["band"]) for one, other in rows)


def test_intervals_are_shaded_where_they_are_stated(tables):
    shaded = []
    for rival in tables[1:]:
        one, other = Duel(tables[0], rival).rows(1)[0]
        figure = drawn(lambda f, a=one, b=other: draw_duel(f, a, b, "arcsec", PAPER, ("a", "b")), 3, 3, PAPER)
        shaded.append(
            sum(len(path.vertices) > 5 for area in figure.axes[0].collections[:2] for path in area.get_paths())
        )
    assert shaded == [2, 0]


def test_running_percentiles_are_those_of_full_bins():
    x = np.concatenate([np.full(101, 20.2), np.full(5, 25.2)])
    middle, low, centre, high = running(x, np.concatenate([np.arange(101.0), np.zeros(5)]))
    assert (middle.tolist(), low.tolist(), centre.tolist(), high.tolist()) == ([20.25], [16], [50], [84])
    assert all(len(part) == 0 for part in running(np.empty(0), np.empty(0)))
