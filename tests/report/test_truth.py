"""Tables of mocks beside their truth: numbers that are known, and a verdict that can go either way."""

import re

import numpy as np
import pyarrow as pa
import pytest

import skyloom as sl
from skyloom.metrics.references import truth_table
from skyloom.report.measurements import Measured
from skyloom.report.truth import truth_chapter

pytest.importorskip("galsim")

SCATTER = 0.05


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    return sl.mock(tmp_path_factory.mktemp("truth") / "mocks.lance", 400, size=48, bands="r", seed=3)


def table(mocks, stated):
    """The truth with a normal scatter of SCATTER mag, and errors that state something."""
    truth, rng = truth_table(mocks), np.random.default_rng(0)
    noisy = [np.asarray(sb) + rng.normal(0, SCATTER, len(sb)) for sb in truth["sb"].to_pylist()]
    errors = [np.full(len(sb), stated) for sb in noisy]
    for name, values in (("sb", noisy), ("sb_error", errors)):
        truth = truth.set_column(truth.column_names.index(name), name, pa.array(values, pa.list_(pa.float64())))
    return truth


def text(mocks, stated):
    chapter = truth_chapter(Measured("table.parquet", table(mocks, stated), (mocks,)), "Beside the truth")
    return re.sub(r"<[^>]+>", " ", chapter.body)


def test_the_scatter_that_was_put_in_is_the_error_that_is_stated(mocks):
    size = float(re.search(r"below 26.5\s+[\d,]+\s+([\d.]+)", text(mocks, SCATTER))[1])
    assert size == pytest.approx(0.6745 * SCATTER, rel=0.1)  # the median of |normal|


def test_honest_errors_hold_and_boasts_do_not(mocks):
    assert "The stated intervals hold" in text(mocks, SCATTER)
    boast = text(mocks, SCATTER / 2)
    assert "do not hold" in boast and "too narrow" in boast
    assert "too wide" in text(mocks, 2 * SCATTER)


def test_without_errors_there_is_nothing_to_judge_and_without_truth_no_chapter(mocks, tiny_survey):
    assert "states no errors" in text(mocks, np.nan)
    assert truth_chapter(Measured("table.parquet", table(mocks, 0.1), (tiny_survey,)), "Beside the truth") is None
