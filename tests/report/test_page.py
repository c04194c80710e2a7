"""A report is one file that opens anywhere, says what it knows, and survives what could not be measured."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import skyloom as sl
from skyloom.data import store
from skyloom.errors import RequestError, SourceError, StoreError
from skyloom.infer.profiles import profile
from skyloom.report.page import Step, concatenated
from skyloom.report.profiles import MEANINGS
from skyloom.sky.profiles import Flag

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Balanced(HTMLParser):
    """Collects tags, attributes and text, and fails on an element that is closed out of order."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.loads, self.ids, self.words = [], [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.note(attributes)

    def handle_startendtag(self, tag, attributes):
        self.note(attributes)

    def note(self, attributes):
        self.loads += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data", "srcset")]
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else at {self.getpos()}"

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module")
def measured(tiny_survey_once, tmp_path_factory):
    """A survey of eight galaxies and a blank one, and their profiles."""
    folder = tmp_path_factory.mktemp("measured")
    tiny = sl.open(tiny_survey_once)
    noise = np.random.default_rng(1).normal(2, 0.5, (3, 64, 64)).astype(np.float32)
    dead = sl.Cutout("dead", np.full_like(noise, np.nan), np.zeros_like(noise))
    blank = sl.Cutout("blank <b>&", noise, np.full_like(noise, 4))
    survey = store.write(folder / "mixed.lance", tiny.info, [*tiny.read(), blank, dead])
    profile(survey, folder / "profiles.parquet")
    return survey.path, folder / "profiles.parquet"


@pytest.fixture(scope="module")
def page(measured, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    sl.report(measured, out, steps=[Step("ingest", 1.5, "10 cutouts")])
    return out.read_text(encoding="utf-8")


def words(text: str) -> str:
    return " ".join(" ".join(Balanced(text).words).split())


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    ids = Balanced(page).ids
    assert len(ids) == len(set(ids)) > 20


def test_the_page_loads_nothing(page):
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in Balanced(page).loads)
    assert not re.search(r"@import|url\((?!#)|<link|<iframe|fetch\(", page)
    assert len(page) < 8e6


def test_every_link_within_the_page_has_a_target(page):
    parsed = Balanced(page)
    assert {link[1:] for link in parsed.loads if link.startswith("#")} <= set(parsed.ids)


def test_every_image_decodes(page):
    images = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(images) >= 16
    for image in images:
        assert min(Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB").size) > 8


def test_no_placeholder_of_a_colour_is_left(page):
    assert "#0b0b" not in page
    declared = set(re.findall(r"(--\w+):", page))
    assert set(re.findall(r"var\((--\w+)\)", page)) <= declared


def test_nothing_reads_nan_or_none(page):
    assert not re.search(r"\b(nan|inf|none|null)\b", words(page).replace("none stated", ""), re.I)


def test_the_survey_its_bands_and_its_units_are_named(page):
    text = words(page)
    for said in (
        "drawn by tests/conftest.py",
        "zero point [AB mag]",
        "22.50",
        "0.2 arcsec per pixel",
        "10 objects in g, r, i",
    ):
        assert said in text


def test_the_flags_that_occur_are_explained_and_counted(page, measured):
    flags = np.array(pq.read_table(measured[1])["flag"].to_pylist())
    assert (flags & Flag.NOTHING).any(), "the dead cutout has an empty row"
    for bit in Flag:
        assert (MEANINGS[bit] in words(page)) == bool((flags & bit).any())


def test_every_object_is_in_the_table_and_markup_in_a_name_is_text(page):
    assert "blank &lt;b&gt;&amp;" in page and "<b>&" not in page.replace("<b>in all", "")
    assert all(f">galaxy-{n}<" in page for n in range(8))


def test_the_steps_the_machine_and_the_versions_are_told(page):
    text = words(page)
    assert "ingest 10 cutouts 1.5" in text and "cores" in text and f"skyloom {sl.__version__}" in text


def test_a_survey_alone_and_a_table_alone_are_reports_too(measured, tmp_path):
    survey, table = measured
    sl.report(survey, tmp_path / "survey.html")
    sl.report([table], tmp_path / "table.html")
    alone = [(tmp_path / name).read_text(encoding="utf-8") for name in ("survey.html", "table.html")]
    assert "data:image/png" in alone[0] and "What failed" not in words(alone[0])
    assert "data:image/png" not in alone[1] and "What failed" in words(alone[1])


def test_what_a_survey_does_not_state_is_said(tmp_path):
    rng = np.random.default_rng(0)
    flux = rng.normal(0, 1, (1, 48, 48)).astype(np.float32)
    y, x = np.indices((48, 48)) - 24
    flux += 50 * np.exp(-np.hypot(x, y / 0.6) / 4).astype(np.float32)
    info = sl.SurveyInfo((sl.Band("clear"),), (48, 48))
    survey = store.write(tmp_path / "bare.lance", info, [sl.Cutout("one", flux, np.ones_like(flux))])
    profile(survey, tmp_path / "bare.parquet")
    sl.report([survey.path, tmp_path / "bare.parquet"], tmp_path / "bare.html")
    text = words((tmp_path / "bare.html").read_text(encoding="utf-8"))
    assert "No zero point is known for clear" in text and "instrumental" in text
    assert "No pixel scale is known" in text and "[pixel]" in text and "arcsec per pixel" not in text


def test_a_table_in_which_nothing_was_measured_is_a_report(measured, tmp_path):
    rows = pq.read_table(measured[1])
    empty = rows.filter(pa.compute.equal(rows["object_id"], "dead"))
    pq.write_table(empty, tmp_path / "dead.parquet")
    pq.write_table(rows.slice(0, 0), tmp_path / "empty.parquet")
    sl.report([tmp_path / "dead.parquet", tmp_path / "empty.parquet"], tmp_path / "dead.html")
    text = words((tmp_path / "dead.html").read_text(encoding="utf-8"))
    assert MEANINGS[Flag.NOTHING] in text and "The table is empty" in text


def test_an_empty_survey_is_a_report(tmp_path):
    info = sl.SurveyInfo((sl.Band("r"),), (16, 16))
    survey = store.write(tmp_path / "empty.lance", info, [])
    assert sl.report(survey.path, tmp_path / "empty.html").exists()


def test_other_files_and_other_tables_are_refused_in_words(measured, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    pq.write_table(pa.table({"object_id": ["a"]}), tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(RequestError, match=r"surveys \(.lance\) and profile tables"):
        sl.report([tmp_path / "notes.txt"], tmp_path / "r.html")
    with pytest.raises(RequestError, match="no column band"):
        sl.report([tmp_path / "other.parquet"], tmp_path / "r.html")
    with pytest.raises(SourceError, match=r"broken\.parquet"):
        sl.report([tmp_path / "broken.parquet"], tmp_path / "r.html")
    with pytest.raises(RequestError, match="at least one"):
        sl.report([], tmp_path / "r.html")
    with pytest.raises(RequestError, match=r"ends in \.html"):
        sl.report(measured, tmp_path / "r.pdf")
    with pytest.raises(StoreError, match="no folder"):
        sl.report(measured, tmp_path / "nowhere" / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_tables_put_together_remember_all_their_surveys(measured):
    rows = pq.read_table(measured[1])
    other = rows.replace_schema_metadata({**rows.schema.metadata, b"survey_hash": b"abc"})
    both = concatenated([rows, other])
    assert len(both) == 2 * len(rows)
    assert both.schema.metadata[b"survey_hash"].split() == [rows.schema.metadata[b"survey_hash"], b"abc"]
