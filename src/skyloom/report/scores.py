"""A page on a comparison: scores beside their nulls, histograms, power spectra, and galaxies to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import Float

from skyloom import __version__
from skyloom.data import store
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.metrics.comparison import Comparison
from skyloom.metrics.measured import Lens, lens
from skyloom.metrics.nearest import search
from skyloom.metrics.samples import Sample, are_pieces, matched
from skyloom.metrics.score import Score
from skyloom.metrics.spectra import power_spectra
from skyloom.metrics.verdicts import METRICS, Row
from skyloom.report.destination import page_destination, write_page
from skyloom.report.drawing import SCREEN
from skyloom.report.histograms import (
    NEAR,
    draw_histograms,
    draw_scores,
    draw_spectra,
    histogram_size,
    scores_size,
    spectra_size,
)
from skyloom.report.markup import MISSING, Chapter, bullets, count, facts, figure, frame, number, paragraph, table
from skyloom.report.page import machine
from skyloom.report.sheets import (
    ON_PAGE,
    Album,
    draw_neighbours,
    neighbour_size,
    page_svg,
    pictures,
    quiz,
    quiz_figure,
    whole,
)

ASKED = 16  # galaxies of either kind in the quiz
SHOWN, NEAREST = 6, 6  # generated galaxies beside their neighbours, and how many of those
WAVES = 1000  # galaxies of either kind whose spectra are drawn


def score_page(comparison: Comparison, real: Survey | str | Path, fake: Survey | str | Path, out: str | Path) -> Path:
    """Write a self-contained HTML page on what `score` found about two surveys, which must be those it compared.

    Raises RequestError for another suffix or other surveys, StoreError if `out` cannot be written.
    """
    out = page_destination(out)
    real, fake = (store.opened(one) for one in (real, fake))
    if (real.path.name, fake.path.name) != (comparison.real, comparison.fake):
        raise RequestError(
            f"the scores are of {comparison.fake} beside {comparison.real}, and the surveys given are "
            f"{fake.path.name} and {real.path.name}; give those that were compared"
        )
    parts = score_chapters(comparison, real, fake)
    title = f"{escape(comparison.fake)} beside {escape(comparison.real)}"
    write_page(out, frame(title, _lead(comparison), parts, f"skyloom {__version__}"))
    return out


def score_chapters(comparison: Comparison, real: Survey, fake: Survey) -> list[Chapter]:
    """The chapters of the page; for pieces of a field, which are about no object, without sheets of galaxies."""
    ours, theirs = _samples(comparison, real, fake)
    through = lens(ours, comparison.seed)
    parts = [_scores(comparison)]
    if comparison.properties:
        parts.append(_histograms(comparison))
    parts.append(_spectra(ours, theirs, through))
    if not (are_pieces(real) and are_pieces(fake)):
        parts += [_quiz(comparison, real, fake), _neighbours(comparison, real, fake)]
    return [*parts, _how(comparison, real, fake)]


def _samples(comparison: Comparison, real: Survey, fake: Survey) -> tuple[Sample, Sample]:
    """The galaxies that were compared."""
    shared, planes, gain = matched(real, fake)
    own = tuple(range(len(shared.bands)))
    ours = Sample(real, real.rows_of(comparison.real_ids), shared, own, np.ones(len(own)))
    return ours, Sample(fake, fake.rows_of(comparison.fake_ids), shared, planes, gain)


def _lead(comparison: Comparison) -> str:
    """What was compared, how many numbers stand out, and which most."""
    judged = [row for row in comparison.rows if np.isfinite(row.found.sigmas)]
    near = sum(abs(row.found.sigmas) <= NEAR for row in judged)
    said = (
        f"{comparison.n:,} generated galaxies of {escape(comparison.fake)} beside {comparison.n:,} real ones of "
        f"{escape(comparison.real)}. {near} of {count(len(judged), 'number')} lie within {NEAR:g}σ of what as many "
        "real galaxies show beside each other"
    )
    if len(judged) > near:
        worst = max(judged, key=lambda row: abs(row.found.sigmas))
        said += f"; farthest is {escape(worst.found.name)} ({escape(worst.metric)}), at {_sigmas(worst)}σ"
    return said + "."


def _scores(comparison: Comparison) -> Chapter:
    """The figure and the table of all scores."""
    rows = [row for row in comparison.rows if np.isfinite(row.found.sigmas)]
    said = paragraph(
        "Every score is a distance between the two samples, or a number that would be the same if they were of one "
        "population. Beside it stands its <b>null</b>: what two samples of real galaxies as large show "
        f"({escape(comparison.nulls)}). Distances fall as samples grow, so only the difference from the null counts."
    )
    drawn = ""
    if rows:
        svg = page_svg(lambda f: draw_scores(f, rows, SCREEN), *scores_size(rows), "scores", "Scores and nulls")
        caption = (
            "How far each score lies from its null, in standard deviations of the null (linear up to 3, logarithmic "
            "beyond); bars: the score's own 1σ from a bootstrap. Shaded: no different. "
            "<span class='accent'>Orange</span>: fewer than one null pair in a hundred lies as far apart."
        )
        drawn = figure(svg, caption, "drawn")
    head = ("", "", "", "score", "null", "σ", "p", "95 % interval", "n")
    lines = [_line(row, k == 0 or comparison.rows[k - 1].metric != row.metric) for k, row in enumerate(comparison.rows)]
    kinds = [(name, escape(METRICS[name].says)) for name in dict.fromkeys(row.metric for row in comparison.rows)]
    return Chapter("How far apart they are", said + drawn + table(head, lines, words=3) + facts(kinds))


def _line(row: Row, first: bool) -> tuple[str, ...]:
    found = row.found
    between = MISSING
    if np.isfinite(found.low + found.high):
        between = " to ".join(_number(value, _digits(found.score)) for value in (found.low, found.high))
    sigmas = _sigmas(row)
    return (
        f"<b>{escape(row.metric)}</b>" if first else "",
        escape(found.name).replace("R_e", "<i>R</i><sub>e</sub>"),
        f"<small>{escape(row.note)}</small>",
        f"{_with_error(found.score)}{'&nbsp;' if found.score.unit else ''}{escape(found.score.unit)}",
        _with_error(found.null),
        f"<b>{sigmas}</b>" if found.p < 0.01 else sigmas,
        number(found.p, 3) if np.isfinite(found.p) else MISSING,
        between,
        f"{found.score.n:,}",
    )


def _sigmas(row: Row) -> str:
    return f"{row.found.sigmas:+.1f}".replace("-", "−") if np.isfinite(row.found.sigmas) else MISSING


def _digits(score: Score) -> int:
    """Decimals that show two figures of the error, or three of the value where there is none."""
    size = score.error if score.error > 0 else abs(score.value) / 10
    return int(np.clip(1 - np.floor(np.log10(size)), 0, 6)) if np.isfinite(size) and size > 0 else 2


def _number(value: float, digits: int) -> str:
    """A number without a minus before zero."""
    return number(round(value, digits) + 0.0 if np.isfinite(value) else value, digits)


def _with_error(score: Score) -> str:
    text = _number(score.value, _digits(score))
    return text if text == MISSING or not score.error > 0 else f"{text} ± {number(score.error, _digits(score))}"


def _histograms(comparison: Comparison) -> Chapter:
    pairs = comparison.properties
    svg = page_svg(lambda f: draw_histograms(f, pairs, SCREEN), *histogram_size(len(pairs)), "histograms", "Histograms")
    caption = (
        "What was measured on each galaxy. <i>d</i>: Cohen’s effect size, generated − real, with its bootstrap error "
        "(for <i>R</i><sub>e</sub> of the logarithm); by custom |<i>d</i>| below 0.2 is small, "
        "<span class='accent'>orange</span> where it is larger. After Smith et al. 2022, Fig. 4."
    )
    lost = [max(int((~np.isfinite(one.values)).sum()) for one in side) for side in zip(*pairs, strict=True)]
    if any(lost):
        caption += f" Up to {lost[0]:,} real and {lost[1]:,} generated galaxies lack one of the numbers."
    return Chapter("What was measured on them", figure(svg, caption, "drawn"))


def _spectra(ours: Sample, theirs: Sample, through: Lens) -> Chapter:
    k, real = _power(ours, through)
    _, fake = _power(theirs, through)
    names = ours.frame.names
    svg = page_svg(
        lambda f: draw_spectra(f, k, real, fake, names, SCREEN), *spectra_size(len(names)), "spectra", "Power spectra"
    )
    caption = (
        f"Power of whole images against frequency, {len(real):,} real and {len(fake):,} generated: median and middle "
        "68 %, in units of the variance of one pixel of real sky. White noise is flat; the upturn to the left is the "
        "galaxies. Below: ratio of the medians, generated over real."
    )
    return Chapter("Power against frequency", figure(svg, caption, "drawn"))


def _power(sample: Sample, through: Lens) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "n c k"]]:
    """Frequencies up to Nyquist's, and the power of the first WAVES galaxies in units of the real sky's variance."""
    flux = np.concatenate([chunk.flux for chunk in sample.take(np.arange(min(WAVES, len(sample)))).read()])
    spectra = power_spectra(flux)
    seen = spectra.resolved
    return spectra.k[seen], spectra.power[..., seen] / np.square(through.unit)[:, None]


def _quiz(comparison: Comparison, real: Survey, fake: Survey) -> Chapter:
    albums = [_first_whole(survey, ids) for survey, ids in ((real, comparison.real_ids), (fake, comparison.fake_ids))]
    genuine, made = pictures(*albums)
    asked = quiz(genuine, made, comparison.seed)
    shown = f"{len(genuine)} real and {len(made)} generated galaxies, drawn at random and shuffled"
    words = "Real and generated galaxies in random order"
    sheet = quiz_figure(asked, "quiz", words, shown, " After Smith et al. 2022, Fig. 2.")
    return Chapter("Real or generated?", sheet)


def _first_whole(survey: Survey, ids: Sequence[str]) -> Album:
    """The first ASKED galaxies without bad pixels; of those with some, if there are no others."""
    album = Album(list(survey.read(ids=list(ids[: 4 * ASKED]))), survey.info)
    good = whole(album)
    return Album((good if len(good.cutouts) >= min(ASKED, len(ids)) else album).cutouts[:ASKED], survey.info)


def _neighbours(comparison: Comparison, real: Survey, fake: Survey) -> Chapter:
    """A few generated galaxies, those suspected of being copies first, and the real ones nearest to them."""
    suspected = [one.fake for one in comparison.suspects]
    chosen = list(dict.fromkeys((*suspected, *comparison.fake_ids)))[:SHOWN]
    found = search(fake, real, NEAREST, ids=chosen, seed=comparison.seed)
    shape = found.neighbours.shape
    albums = [Album(list(real.read(ids=found.neighbours.ravel().tolist())), real.info)]
    genuine, made = pictures(*albums, Album(list(fake.read(ids=chosen)), fake.info))
    sheet = genuine.reshape(*shape, *genuine.shape[1:])
    svg = page_svg(
        lambda f: draw_neighbours(f, made, sheet, found.distance, SCREEN, sharp=True),
        *neighbour_size(shape[0], shape[1], ON_PAGE),
        "neighbours",
        "Generated galaxies and the real ones nearest to them",
    )
    first = f" The first {min(len(suspected), SHOWN)} are suspected of being copies." if suspected else ""
    caption = (
        f"Left: generated galaxies; right: the nearest of {found.searched:,} real ones, by the rms difference of light "
        f"in 16 × 16 cells, over the 8 symmetries, in units of a cell’s noise; shown as they lie.{first} "
        f"Real galaxies have their nearest neighbour at a median of {number(found.usual, 2)}; copies lie well below. "
        "After Smith et al. 2022, Fig. 3."
    )
    return Chapter("The nearest real galaxies", figure(svg, caption, "drawn"))


def _how(comparison: Comparison, real: Survey, fake: Survey) -> Chapter:
    """What must be known to repeat it."""
    pairs: list[tuple[str, str]] = []
    for role, survey in (("real", real), ("generated", fake)):
        words = f"{survey.path.name}: {count(len(survey), 'object')}, content {survey.content_hash[:16]}"
        pairs.append((role, escape(f"{words}. {survey.info.source}")))
    pairs.append(("compared", f"{comparison.n:,} of each, drawn by seed {comparison.seed}"))
    pairs.append(("null", escape(comparison.nulls)))
    notes: Iterable[str] = (*comparison.notes, *fake.info.notes)
    return Chapter("How they were compared", facts([*pairs, *machine()]) + bullets(notes))
