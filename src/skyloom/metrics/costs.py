"""What a training of so many FLOP takes: days, energy, money, greenhouse gas; it rests on assumptions, stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

from skyloom.errors import RequestError

HOUR, DAY = 3600.0, 86400.0


class Device(NamedTuple):
    """What computes. peak : [FLOP/s] in half precision; watts : at full load [W]; price : to rent it [US$/h]"""

    name: str
    peak: float
    watts: float
    price: float


DEVICES = (
    Device("NVIDIA H100 SXM", 989e12, 700.0, 3.0),
    Device("NVIDIA A100 SXM 80 GB", 312e12, 400.0, 1.8),
)  # peaks and powers from NVIDIA's data sheets, dense bfloat16; prices as rented on demand in 2026, from specialists


@dataclass(frozen=True)
class Assumptions:
    """What is not measured.

    utilisation : share of its peak that a device reaches; published trainings of large language models reached 0.21 to
        0.46 (Chowdhery et al. 2022, arXiv:2204.02311, Table 3)
    overhead : energy of a data centre for each unit of its computers', the mean of 2024 (Uptime Institute 2024, Global
        Data Center Survey)
    kg_per_kwh : greenhouse gas of electricity [kg CO₂e / kWh], the world's mean of 2023 (Ember 2024, Global Electricity
        Review)
    flops, watts, price : of a device of your own [FLOP/s at its peak, W, US$/h]; without flops, of the machine of the
        runs
    """

    utilisation: float = 0.4
    overhead: float = 1.56
    kg_per_kwh: float = 0.48
    flops: float | None = None
    watts: float | None = None
    price: float | None = None

    def facts(self) -> dict[str, float]:
        """Those that are made."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Cost(NamedTuple):
    """Of one training on one device; None where nobody says. speed : [FLOP/s] that it keeps up"""

    device: str
    speed: float
    days: float
    kwh: float | None
    usd: float | None
    kg_co2e: float | None


def assumptions(given: Mapping[str, str]) -> Assumptions:
    """The usual ones, some of them replaced; RequestError for a name that is none or a value that is not positive."""
    names = [field.name for field in fields(Assumptions)]
    changes: dict[str, Any] = {}
    for name, text in given.items():
        if name not in names:
            raise RequestError(f"nothing is assumed of {name!r}; there is {', '.join(names)}")
        try:
            changes[name] = float(text)
        except ValueError:
            changes[name] = -1.0
        if not 0 < changes[name] < float("inf") or (name == "utilisation" and changes[name] > 1):
            raise RequestError(f"{name}={text!r} is no {'share' if name == 'utilisation' else 'positive number'}")
    return replace(Assumptions(), **changes)


def costs(flops: float, assumed: Assumptions, machine: str = "", speed: float = float("nan")) -> list[Cost]:
    """What it takes on the machine of the runs, on a device of one's own, and on those that are known.

    machine, speed : of the runs, as measured there [FLOP/s]; NaN if nobody says
    Source: energy times the grid's intensity, Lacoste et al. 2019, arXiv:1910.09700.
    """
    own = (assumed.watts, assumed.price)
    found = []
    if speed > 0:
        found.append(_cost(flops, f"as the runs ({machine or 'their machine'})", speed, assumed,
                           *(own if assumed.flops is None else (None, None))))  # fmt: skip
    if assumed.flops is not None:
        found.append(_cost(flops, "yours", assumed.flops * assumed.utilisation, assumed, *own))
    for one in DEVICES:
        found.append(_cost(flops, one.name, one.peak * assumed.utilisation, assumed, one.watts, one.price))
    return found


def _cost(
    flops: float, name: str, speed: float, assumed: Assumptions, watts: float | None, price: float | None
) -> Cost:
    seconds = flops / speed
    kwh = None if watts is None else watts * assumed.overhead * seconds / HOUR / 1000
    usd = None if price is None else price * seconds / HOUR
    return Cost(name, speed, seconds / DAY, kwh, usd, None if kwh is None else kwh * assumed.kg_per_kwh)
