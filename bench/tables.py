"""Markdown tables of what several contenders were measured at in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A quantity: its heading, how it is written, and what its ratio to the first contender is called."""

    heading: str
    written: Callable[[float], str]
    ratio: str
    digits: int = 1


def table(first: str, column: Column, runs: Mapping[str, Sequence[float]]) -> list[str]:
    """One quantity: median, range, and each ratio to the first contender, pair by pair."""
    rows = [f"| {first} | {column.heading} | range | {column.ratio} |", "|---|---:|---:|---:|"]
    for name, values in runs.items():
        low, high = column.written(min(values)), column.written(max(values))
        middle = column.written(statistics.median(values))
        rows.append(f"| {name} | {middle} | {low} to {high} | {ratio(runs, name):.{column.digits}f} |")
    return rows


def ratio(runs: Mapping[str, Sequence[float]], name: str) -> float:
    """The median ratio of a contender to the first, run by run: it holds when the machine's speed drifts."""
    ours = next(iter(runs.values()))
    return statistics.median(run / our for run, our in zip(runs[name], ours, strict=True))
