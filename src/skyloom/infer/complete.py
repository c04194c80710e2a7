"""`complete`: what is known of objects in, what is not known out: numbers, profiles, the rest of a light curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from skyloom import __version__
from skyloom.data import store
from skyloom.data.tables import check_destination, write_table
from skyloom.data.tokens import TokenSource
from skyloom.data.vocabulary import FIRST, ImageFacts, has_images, listed, read_objects, source_of
from skyloom.errors import RequestError
from skyloom.infer.placed import device_of
from skyloom.infer.token_nets import Reader, reader_of, reads
from skyloom.nn.sky_gpt import SkyGPT
from skyloom.sky.tokens import IMAGE, LIGHT, TokenBatch, Tokens

CHUNK = 64  # objects at once
READ = 4_096  # objects in memory at once
QUANTILES = {"": 0.5, "_q05": 0.05, "_q16": 0.16, "_q84": 0.84, "_q95": 0.95}
EVERY = 10_000  # points of a list, at most: all of it
Progress = Callable[[int, int | None, str], None]


class Task(NamedTuple):
    """say : kinds that are asked for; given : those that are shown; first : points of an asked series that are shown"""

    say: tuple[str, ...]
    given: tuple[str, ...]
    first: int


def complete(
    survey: store.Survey | str | Path,
    out: str | Path | None = None,
    with_: str | Path = "sky-gpt-laptop",
    *,
    say: Sequence[str] = (),
    given: Sequence[str] = (),
    first: int = 0,
    draws: int = 0,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Say what weights of the recipe sky_gpt expect of every object; write the table to `out` if it is given.

    with_ : weights that ship with skyloom, or a run directory
    say : columns and series that are asked for, as the weights were trained on them; none for all columns that are not
        given
    given : what is shown of an object: `images`, columns, series; none for the images and nothing else, or, where there
        are none, for everything that is not asked for
    first : of each asked series, so many points at its beginning are shown, and the others are said at their own
        places. Of more than the weights were shown at once in training (`points`), evenly spaced ones are shown
    draws : 0 for the median of each number and the ends of its 68 and 90 % intervals, `_q16` `_q84` `_q05` `_q95`, each
        number alone; else so many rows for each object, drawn together, token after token
    One row for each object (and draw), in the survey's order, but for those without a sound image where images are
    given. A series that the survey lacks is said at places that are usual for it. Numbers are in the units of the
    columns that were learnt from, series in lists, with their places.
    Raises RequestError for weights that read no tokens, columns that they do not know, or a survey without any that
    could be shown.
    """
    survey, reader = store.opened(survey), reader_of(with_)
    destination = None if out is None else check_destination(out)
    image = image_facts(reader, survey)
    task = task_for(reader, survey, image, say, given, first)
    if draws < 0:
        raise RequestError(f"draws={draws}: a number of draws is 0 or more")
    if not draws and reader.run.record["settings"]["masked"] == 0:
        raise RequestError(f"{reader.run.name} was trained with masked=0 and can only draw; ask for draws")
    names = survey.table(["object_id"])["object_id"].to_pylist() if ids is None else list(ids)
    survey.rows_of(names)
    net = reader.net.to(device_of(device))
    parts = []
    for some, batch in batches_for(reader, survey, image, task, names, progress):
        here = {name: tokens.to(device_of(device)) for name, tokens in batch.items()}
        if draws:
            parts += [_drawn(reader, net, here, task, some, number, seed) for number in range(draws)]
        else:
            parts.append(_expected(reader, net, here, task, some))
    table = pa.concat_tables(parts)
    if draws:
        table = table.take(_by_object(table, names))
    table = table.replace_schema_metadata(
        {"description": "What is expected of objects", "skyloom": __version__, "weights": reader.run.name,
         "hash": reader.run.hash, "given": ", ".join(task.given), "survey": survey.path.name}
    )  # fmt: skip
    if destination is not None:
        write_table(table, destination)
    return table


def image_facts(reader: Reader, survey: store.Survey) -> ImageFacts | None:
    """The kind of images of the weights that a survey's are, if any."""
    for facts in reader.vocabulary.images:
        if reads(facts, survey.info) and has_images(survey, facts.bin, facts.info.shape[0]):
            return facts
    return None


def task_for(
    reader: Reader, survey: store.Survey, image: ImageFacts | None, say: Sequence[str], given: Sequence[str], first: int
) -> Task:
    """What is asked and what is shown; RequestError for what the weights or the survey do not have."""
    vocabulary = reader.vocabulary
    known = (*vocabulary.numbers, *vocabulary.series)
    names = {"images", *known}
    strange = [name for name in (*say, *given) if name not in names]
    if strange:
        raise RequestError(f"{reader.run.name} knows no {', '.join(strange)}; it knows {', '.join(sorted(names))}")
    lacking = [name for name in given if not _has(survey, name, image)]
    if lacking:
        raise RequestError(
            f"{survey.path.name} has no {', '.join(lacking)} that {reader.run.name} could be shown"
            + ("" if image else "; images must have its bands and pixel scale")
        )
    if not given:
        others = [name for name in known if name not in say and _has(survey, name, None)]
        given = ["images"] if image else (others if say else [])
    say = tuple(say) or tuple(name for name in vocabulary.numbers if name not in given)
    stems = [listed(name).value if "@" in name else name for name in say]
    if len(set(stems)) < len(stems):
        raise RequestError(f"{', '.join(say)}: two of these would have one name in the table; ask for one at a time")
    if not say:
        raise RequestError(f"{reader.run.name} knows no column that is not given; say which series is asked for")
    partly = [name for name in say if name in vocabulary.series and first]
    if not given and not partly:
        raise RequestError(
            f"nothing of {survey.path.name} can be shown to {reader.run.name}, which knows {', '.join(sorted(names))}; "
            "name what is given"
        )
    both = sorted(set(say) & set(given))
    if both or "images" in say or first < 0:
        raise RequestError(
            f"{', '.join(both) or 'images'} cannot be asked for here"
            if first >= 0 else f"first={first}: a number of points is 0 or more"
        )  # fmt: skip
    return Task(say, tuple(given), first)


def _has(survey: store.Survey, name: str, image: ImageFacts | None) -> bool:
    if name == "images":
        return image is not None
    columns = listed(name).columns if "@" in name else [name]
    return set(columns) <= set(survey.column_names)


def batches_for(
    reader: Reader, survey: store.Survey, image: ImageFacts | None, task: Task, names: Sequence[str],
    progress: Progress | None = None,
) -> Iterator[tuple[list[str], TokenBatch]]:  # fmt: skip
    """Ids and tokens of a few objects at a time: what is given first, what is asked for after it, known or not."""
    vocabulary = reader.vocabulary
    wanted = (*task.given, *task.say)
    numbers = [name for name in vocabulary.numbers if name in wanted]
    series = [name for name in vocabulary.series if name in wanted]
    side, bin = (image.info.shape[0], image.bin) if image and "images" in task.given else (1 << 30, 1)
    bands = image.info.band_names if image else ()
    for start in range(0, len(names), READ):
        read = read_objects(
            survey, names[start : start + READ], numbers=numbers, series=series, bands=bands, bin=bin, crop=side
        )
        source = source_of(read, vocabulary, EVERY)
        for rows in np.array_split(np.arange(len(source)), max(1, -(-len(source) // CHUNK))):
            if len(rows):
                yield [source.ids[row] for row in rows], asked(reader, source, rows, task)
                if progress:
                    progress(start + int(rows[-1]) + 1, len(names), "objects")


def asked(reader: Reader, source: TokenSource, rows: np.ndarray, task: Task) -> TokenBatch:
    """The tokens of some objects, with a place for every number that is asked for."""
    there = source.batch(rows)
    given = [name for name in there if name.startswith((LIGHT, IMAGE)) and "images" in task.given]
    given += [name for name in task.given if name in there]
    batch = {name: there[name] for name in given}
    for name in task.say:
        if name in reader.vocabulary.numbers:
            blank = torch.zeros(len(rows), 1, 1)
            batch[name] = Tokens(blank, torch.ones_like(blank, dtype=torch.bool), torch.zeros(len(rows), 1, 0))
        elif name in there:
            batch[name] = there[name]
        else:
            batch[name] = _usual(reader.vocabulary.series[name], len(rows))
    return batch


def _usual(facts: Mapping[str, Any], n: int) -> Tokens:
    places = torch.tensor(facts["usual"], dtype=torch.float32)[None, :, None] / facts["step"]
    places = torch.cat([places, torch.zeros(1, places.shape[1], len(facts["channels"]))], 2).expand(n, -1, -1)
    blank = torch.zeros(n, places.shape[1], 1)
    return Tokens(blank, torch.ones_like(blank, dtype=torch.bool), places)


def hidden_in(batch: TokenBatch, task: Task, points: int) -> dict[str, torch.Tensor]:
    """The tokens that are asked for: all of a number, and of a series those after the first."""
    hidden = {}
    for name in task.say:
        places = torch.arange(batch[name].values.shape[1], device=batch[name].values.device)
        first = min(task.first, points) if "@" in name else 0
        hidden[name] = (places >= first).expand(len(batch[name].values), -1)
    return hidden


@torch.inference_mode()
def _expected(reader: Reader, net: SkyGPT, batch: TokenBatch, task: Task, ids: list[str]) -> pa.Table:
    """Quantiles of each number alone, all that is asked for being hidden."""
    said: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in task.say}
    for part in in_parts(batch, task, points_of(reader)):
        laws = net.filled(part, hidden_in(part, task, points_of(reader)))
        for name in task.say:
            shown = min(task.first, points_of(reader)) if "@" in name else 0
            said[name].append(
                {mark: laws[name].quantile(level)[:, shown:, 0].cpu().numpy() for mark, level in QUANTILES.items()}
            )
    columns: dict[str, Any] = {"object_id": ids}
    for name, parts in said.items():
        rest = batch[name].at(slice(task.first if "@" in name else 0, None))
        found = {mark: np.empty(rest.values.shape[:2], np.float32) for mark in QUANTILES}
        for number, quantiles in enumerate(parts if "@" in name else parts[:1]):
            for mark, values in quantiles.items():
                found[mark][:, number :: len(parts) if "@" in name else 1] = values
        columns |= _columns(reader, name, found, rest)
    return pa.table(columns)


def points_of(reader: Reader) -> int:
    return reader.run.record["settings"]["points"]


def in_parts(batch: TokenBatch, task: Task, points: int) -> Iterator[TokenBatch]:
    """The batch with no more points of any series at once than were learnt from: of those that are shown evenly spaced
    ones, and of those that are asked for every so many, so that each part spans them all."""
    asked_for = {name: batch[name].values.shape[1] - task.first for name in task.say if "@" in name}
    parts = max([1, *(-(-n // points) for n in asked_for.values())])
    for number in range(parts):
        part = {}
        for name, tokens in batch.items():
            length = tokens.values.shape[1]
            if "@" not in name:
                part[name] = tokens
                continue
            shown = np.arange(min(task.first, length) if name in asked_for else length)
            shown = shown[np.linspace(0, len(shown) - 1, points).round().astype(int)] if len(shown) > points else shown
            some = np.arange(task.first + number, length, parts) if name in asked_for else np.empty(0, int)
            part[name] = tokens.at(torch.as_tensor(np.concatenate([shown, some])))
        yield part


@torch.inference_mode()
def _drawn(
    reader: Reader, net: SkyGPT, batch: TokenBatch, task: Task, ids: list[str], number: int, seed: int
) -> pa.Table:
    """All that is asked for, drawn together."""
    rng = torch.Generator().manual_seed(hash_of(seed, number, ids[0]))
    given = {name: task.first if "@" in name else 0 for name in task.say}
    length = sum(tokens.values.shape[1] for tokens in batch.values())
    if length > net.config.context:
        raise RequestError(
            f"an object has {length} tokens, and {reader.run.name} reads {net.config.context} at most; draw for fewer "
            "points, or take quantiles"
        )
    filled, _ = net.continued(batch, given, rng)
    columns: dict[str, Any] = {"object_id": ids, "draw": [number] * len(ids)}
    for name in task.say:
        rest = filled[name].at(slice(given[name], None))
        columns |= _columns(reader, name, {"": rest.values[..., 0].cpu().numpy()}, rest)
    return pa.table(columns)


def hash_of(seed: int, number: int, name: str) -> int:
    """A seed of its own for each draw of each batch."""
    return int(np.random.SeedSequence([seed, number, *name.encode()]).generate_state(1, np.uint64)[0] >> 1)


def _columns(
    reader: Reader, name: str, found: Mapping[str, Float[np.ndarray, "n t"]], tokens: Tokens
) -> dict[str, Any]:
    """Numbers in the units of their column; of a series lists of those there are, with their places."""
    if name in reader.vocabulary.numbers:
        facts: Mapping[str, Any] = reader.vocabulary.numbers[name]
        return {name + mark: facts["mean"] + facts["std"] * values[:, 0] for mark, values in found.items()}
    facts, wanted = reader.vocabulary.series[name], listed(name)
    present = tokens.present.cpu().numpy()
    places = tokens.places[..., 0].cpu().numpy() * facts["step"]
    since = FIRST if wanted.since_first else ""
    columns = {f"{wanted.value}_at_{wanted.place}{since}": _lists(places, present)}
    if facts["channels"]:
        which = tokens.places[..., 1:].argmax(2).cpu().numpy()
        columns[f"{wanted.value}_{wanted.channel}"] = [
            [facts["channels"][k] for k in row[there]] for row, there in zip(which, present, strict=True)
        ]
    return columns | {
        wanted.value + mark: _lists(facts["mean"] + facts["std"] * values, present) for mark, values in found.items()
    }


def _lists(values: np.ndarray, present: np.ndarray) -> list[list[float]]:
    return [row[there].astype(float).tolist() for row, there in zip(values, present, strict=True)]


def _by_object(table: pa.Table, names: Sequence[str]) -> np.ndarray:
    """The rows so that an object's draws stand together, in the survey's order."""
    place = {name: row for row, name in enumerate(names)}
    at = np.array([place[name] for name in table["object_id"].to_pylist()])
    return np.lexsort((table["draw"].to_numpy(), at))
