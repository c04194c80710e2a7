"""The page on a comparison shows the numbers that were found, and nothing else."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import skyloom as sl
from skyloom.data import store
from skyloom.errors import RequestError, StoreError
from skyloom.metrics.comparison import Suspect, score
from skyloom.metrics.photometry import Property
from skyloom.metrics.synthetic_galaxy import cohens_d
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.histograms import (
    draw_histograms,
    draw_scores,
    draw_spectra,
    histogram_size,
    scores_size,
    spectra_size,
)
from skyloom.report.scores import score_page

SIDE, NOISE = 32, 0.5


def galaxies(count, seed, gain=1.0):
    """Discs of many sizes and brightnesses in three bands, on noise."""
    rng, cutouts = np.random.default_rng(seed), []
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    for number in range(count):
        size, light = rng.lognormal(0.7, 0.3), gain * rng.lognormal(6.5, 0.6)
        disc = np.exp(-np.hypot(x, y / rng.uniform(0.4, 1)) / size)
        colours = np.array([1.0, rng.lognormal(0.4, 0.1), rng.lognormal(0.7, 0.1)])[:, None, None]
        flux = light * colours * disc / disc.sum() + rng.normal(0, NOISE, (3, SIDE, SIDE))
        name = f"g{seed}-{number}"
        sky = {"sky": np.zeros(3, np.float32), "sky_rms": np.full(3, NOISE, np.float32)}
        cutouts.append(
            sl.Cutout(name, flux.astype(np.float32), np.full(flux.shape, NOISE**-2, np.float32), tile=name, **sky)
        )
    return cutouts


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    bands = tuple(sl.Band(name, 22.5, 0.7, "nanomaggy") for name in "gri")
    info = sl.SurveyInfo(bands, (SIDE, SIDE), 0.2, source="made <up>")
    real = store.write(folder / "real.lance", info, galaxies(60, 1))
    return real, store.write(folder / "fake.lance", info, galaxies(30, 2, gain=1.6))


@pytest.fixture(scope="module")
def comparison(surveys):
    """With a galaxy accused of being a copy."""
    found = score(*surveys, metrics=["sgd", "effect", "power"], n=30)
    return replace(found, suspects=(Suspect(found.fake_ids[9], found.real_ids[0], 0.1),))


@pytest.fixture(scope="module")
def page(comparison, surveys, tmp_path_factory):
    out = score_page(comparison, *surveys, tmp_path_factory.mktemp("page") / "scores.html")
    return out.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Words, ids, and what is loaded; fails on elements closed out of order."""

    def __init__(self, text):
        super().__init__()
        self.words, self.ids, self.loads, self.open = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.handle_startendtag(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]
        self.loads += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_well_formed_and_loads_nothing(page):
    read = Reader(page)
    assert len(read.ids) == len(set(read.ids))
    assert all(link.startswith(("#", "data:image/png;base64,", "data:image/jpeg;base64,")) for link in read.loads)


def test_every_score_is_in_the_table_beside_its_null(page, comparison):
    words = " ".join(" ".join(Reader(page).words).split())
    for row in comparison.rows:
        assert row.found.name.replace("R_e", "R e") in words and row.metric in words
    first = comparison.rows[0].found
    assert f"{first.score.value:.2f}" in words and f"{first.null.value:.2f}" in words
    assert comparison.nulls in words and "30 generated galaxies of fake.lance beside 30 real ones" in words
    assert "made <up>" in words


def test_the_sheets_show_as_many_galaxies_as_they_say(page):
    counts = {
        section: body.count("<image")
        for section, body in re.findall(r'<section id="([^"]+)">(.*?)</section>', page, re.S)
    }
    assert counts["real-or-generated-"] == 32
    assert counts["the-nearest-real-galaxies"] == 6 * 7


def test_suspects_of_copying_come_first(page):
    assert "The first 1 are suspected of being copies" in " ".join(Reader(page).words)


def test_what_cannot_be_shown_or_written_is_refused(comparison, surveys, tmp_path):
    real, fake = surveys
    with pytest.raises(RequestError, match="html"):
        score_page(comparison, real, fake, tmp_path / "page.pdf")
    with pytest.raises(RequestError, match="give those that were compared"):
        score_page(comparison, fake, real, tmp_path / "page.html")
    with pytest.raises(StoreError, match="cannot be written"):
        score_page(comparison, real, fake, tmp_path / "nowhere" / "page.html")


def test_a_page_on_pieces_of_a_field_has_no_sheets_of_galaxies(pieces, tmp_path):
    def side_by_side(name):
        places = ({"x": 48.0 + 96 * (k % 4), "y": 48.0 + 96 * (k // 4)} for k in range(len(pieces)))
        cutouts = (replace(one, columns=at) for one, at in zip(pieces.read(), places, strict=True))
        return store.write(tmp_path / name, pieces.info, cutouts)

    surveys = side_by_side("real.lance"), side_by_side("fake.lance")
    found = score(*surveys, ["counts", "sources"])
    text = score_page(found, *surveys, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "sources per area, fake / real" in text and "half-light radius" in text
    assert "real-or-generated" not in text and "nearest-real-galaxies" not in text


def pair(name, seed=0, shift=0.5):
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(2, 0.3, 500), rng.normal(2 + shift, 0.3, 400)
    fake[:3] = np.nan
    return Property(name, "mag", real), Property(name, "mag", fake)


def test_histograms_print_the_effect_size_and_hold_all_the_galaxies():
    pairs = [pair("g"), pair("R_e", 1), pair("r", 2, 0.0)]
    figure = drawn(lambda f: draw_histograms(f, pairs, PAPER), *histogram_size(3), PAPER)
    panels = [axes for axes in figure.axes if axes.texts]
    said = [axes.texts[0].get_text() for axes in panels]
    d = cohens_d(pairs[0][0].values, pairs[0][1].values)
    assert f"{d.value:+.2f}" in said[0] and d.value == pytest.approx(0.5 / 0.3, rel=0.1)
    logarithm = cohens_d(*(np.log(one.values) for one in pairs[1]))
    assert f"{logarithm.value:+.2f}" in said[1] and panels[1].get_xscale() == "log"
    colours = [axes.texts[0].get_color() for axes in panels]
    assert colours == [PAPER.accent, PAPER.accent, PAPER.ink]
    heights, edges = panels[0].patches[0].get_data()[:2]
    assert (heights * np.diff(edges)).sum() == pytest.approx(1, abs=0.02)


def test_scores_are_drawn_at_their_distance_from_the_null(comparison):
    rows = comparison.rows
    figure = drawn(lambda f: draw_scores(f, rows, PAPER), *scores_size(rows), PAPER)
    points = np.concatenate(
        [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) and line.get_marker() == "o"]
    )
    assert sorted(points) == pytest.approx(sorted(row.found.sigmas for row in rows))


def test_spectra_of_any_number_of_bands_have_a_panel_and_a_ratio_each():
    waves = np.linspace(0.03, 0.5, 12)
    for bands in (1, 3, 9):
        real = np.random.default_rng(0).lognormal(0, 0.2, (40, bands, 12))
        names = [f"band{number}" for number in range(bands)]
        figure = drawn(
            lambda f, r=real, n=names: draw_spectra(f, waves, r, 1.2 * r, n, PAPER), *spectra_size(bands), PAPER
        )
        assert len([axes for axes in figure.axes if axes.axison]) == 2 * bands
        ratios = [axes.lines[0].get_ydata() for axes in figure.axes if axes.axison and len(axes.lines) == 2]
        assert len(ratios) == bands and ratios[0] == pytest.approx(1.2)
