"""The pieces of a page: numbers as astronomers write them, tables, figures, and the frame around them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

from skyloom.report.drawing import NIGHT, PAPER, css_variables

MISSING = "–"
HERE = Path(__file__).parent
FRAME = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="$generator">
<title>$title</title>
<style>
:root { $light }
@media screen and (prefers-color-scheme: dark) { :root { $dark } }
$style
</style>
</head>
<body>
<header><h1>$title</h1>
<p class="lead">$lead</p>
<nav aria-label="Chapters">$contents</nav></header>
<main>
$body
</main>
<script>$script</script>
</body>
</html>
""")


class Chapter(NamedTuple):
    """A part of the page. body : HTML, made safe already"""

    title: str
    body: str

    @property
    def anchor(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


class Cell(NamedTuple):
    """A table cell that is sorted by another value than its text."""

    text: str
    key: float | str


def frame(
    title: str, lead: str, chapters: Sequence[Chapter], generator: str, *, style: str = "", script: str = ""
) -> str:
    """The whole page: one file, nothing loaded from elsewhere. lead : HTML; style, script : of this page alone"""
    return FRAME.substitute(
        title=escape(title),
        lead=lead,
        generator=escape(generator),
        contents=" ".join(f'<a href="#{chapter.anchor}">{escape(chapter.title)}</a>' for chapter in chapters),
        body="\n".join(
            f'<section id="{chapter.anchor}"><h2>{escape(chapter.title)}</h2>\n{chapter.body}</section>'
            for chapter in chapters
        ),
        light=css_variables(PAPER),
        dark=css_variables(NIGHT),
        style=(HERE / "page.css").read_text(encoding="utf-8") + style,
        script=(HERE / "page.js").read_text(encoding="utf-8") + script,
    )


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals, a true minus sign, and a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{digits}f}".replace("-", "−")


def short(value: float | None, figures: int = 3) -> str:
    """A number with so many significant figures, in powers of ten where it is very large or small."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{figures}g}"
    if "e" not in text:
        return text.replace("-", "−")
    mantissa, exponent = text.split("e")
    return f"{mantissa} × 10<sup>{int(exponent)}</sup>".replace("-", "−")


def with_error(value: float | None, error: float | None, digits: int = 2) -> str:
    """`18.42 ± 0.03`; the error alone is left out where it is not known."""
    text = number(value, digits)
    return text if MISSING in (text, number(error, digits)) else f"{text} ± {number(error, digits)}"


def count(n: int, noun: str) -> str:
    """`1 galaxy`, `2,490 galaxies`."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{n:,} {noun if n == 1 else plural}"


def paragraph(*sentences: str) -> str:
    """One paragraph of sentences, which are HTML."""
    return f"<p>{' '.join(sentences)}</p>\n"


def bullets(items: Iterable[str]) -> str:
    """A list of items, which are text."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>\n"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of names (text) and values (HTML)."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in pairs) + "</dl>\n"


def figure(content: str, caption: str, kind: str = "") -> str:
    """Any content (HTML) with its caption (HTML) below it."""
    return f'<figure class="{kind}">{content}\n<figcaption>{caption}</figcaption></figure>\n'


def table(head: Sequence[str], rows: Iterable[Sequence[str | Cell]], kind: str = "", words: int = 1) -> str:
    """A table of HTML cells; the first `words` columns are words, the others numbers, aligned at the right."""
    titles = "".join(f'<th scope="col"{_side(k, words)}>{title}</th>' for k, title in enumerate(head))
    lines = ("".join(_cell(cell, _side(k, words)) for k, cell in enumerate(row)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    inside = f"<thead><tr>{titles}</tr></thead>\n<tbody>{body}</tbody>"
    return f'<div class="wide"><table class="{kind}">{inside}</table></div>\n'


def _side(column: int, words: int) -> str:
    return "" if column < words else ' class="number"'


def _cell(cell: str | Cell, side: str) -> str:
    if isinstance(cell, str):
        return f"<td{side}>{cell}</td>"
    missing = isinstance(cell.key, float) and not math.isfinite(cell.key)
    return f'<td{side} data-key="{"" if missing else escape(str(cell.key))}">{cell.text}</td>'
