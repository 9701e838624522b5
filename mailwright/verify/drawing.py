"""The fleet as a drawing: the world, the doors it comes in by, balancers, and the machines behind them.

Pure geometry in the units of an SVG's viewBox, where the y axis points down. The template draws it, the
colours are the page's. Nothing overlaps, however many machines and pools there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mailwright.model.fleet import Fleet
from mailwright.verify.report import MachineReport, Outcome, Report
from mailwright.verify.ways import Way, behind
from mailwright.verify.ways import ways as all_ways

WIDTH = 1048
_NODE = (172, 56)
_GAP = 12
_TITLE = 30
"""Room for a frame's title above its nodes."""
_APART = 20
"""Between what stands in one column."""
_BETWEEN = (48, 110)
"""Between two columns, where the lines run: at least and at most."""
_WORLD = (104, 60)
_DOOR_WIDTH = 220
_HIGH = 3
"""So many machines of a frame stand in one column; more of them in as many columns as there is room for."""


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Where lines leave it."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Where the next one may begin."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """The height at which lines meet it."""
        return self.y + self.height / 2


@dataclass(frozen=True)
class Node:
    """A machine."""

    box: Box
    name: str
    report: MachineReport | None
    """`None`: the run left it out."""


@dataclass(frozen=True)
class Frame:
    """Machines that do the same."""

    box: Box
    title: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Door:
    """What the world connects to: a pool by its service name, or machines by names of their own."""

    box: Box
    title: str
    lines: tuple[str, ...]
    """Addresses and ports."""
    verdict: Outcome | None
    """Of a virtual address: do its balancers agree on who holds it? `None`: nothing to be judged."""


@dataclass(frozen=True)
class Line:
    """From the right side of one box to the left side of another."""

    left: Box
    right: Box
    bend: float
    """Where it leaves the height of its beginning: behind whatever it passes below."""


@dataclass(frozen=True)
class Drawing:
    """Everything that is to be drawn."""

    height: float
    world: Box | None
    doors: tuple[Door, ...]
    frames: tuple[Frame, ...]
    lines: tuple[Line, ...]


def draw(report: Report, fleet: Fleet) -> Drawing:
    """Lay a fleet out, each machine once (a balancer in each of its pairs), with what was found of it."""
    ways = tuple(all_ways(report, fleet))
    members_of, aside = behind(fleet, ways)
    reports = {machine.name: machine for machine in report.machines}
    balanced = any(way.balancers for way in ways)
    door_x, pair_x, member_x, columns = _columns(max(map(len, members_of.values()), default=0), balanced)

    members: dict[frozenset[int], Frame] = {}
    bottom = 0.0
    for through, names in members_of.items():
        title = ", ".join(ways[i].label for i in sorted(through))
        across = columns if len(names) > _HIGH else 1
        members[through] = _frame(title, names, reports, (member_x, bottom), across)
        bottom = members[through].box.bottom + _APART
    pairs = _pairs(ways, members, reports, pair_x)
    targets = _targets(ways, members, pairs)
    doors = _doors(ways, targets, door_x, max((pair.box.bottom for pair in pairs.values()), default=0.0))
    frames = [*pairs.values(), *members.values()]
    bottom = max((box.bottom for box in (*(f.box for f in frames), *(d.box for d in doors))), default=0.0)
    world = Box(0, bottom / 2 - _WORLD[1] / 2, *_WORLD) if doors else None
    lines = [Line(world, door.box, world.right) for door in doors] if world else []
    for way, door, boxes in zip(ways, doors, targets, strict=True):
        past = door.box.right if way.balancers or not pairs else pair_x + _frame_width(1)
        lines += [Line(door.box, box, past) for box in boxes]
    for balancers, pair in pairs.items():
        lines += [Line(pair.box, box, pair.box.right) for box in _led_to(balancers, ways, members)]
    if aside:
        across = int((WIDTH - _GAP) // (_NODE[0] + _GAP))
        title, top = ("other machines", bottom + _APART) if frames else ("machines", 0.0)
        other = _frame(title, aside, reports, (0, top), across)
        frames.append(replace(other, box=replace(other.box, width=WIDTH)))
        bottom = other.box.bottom
    return Drawing(bottom, world, doors, tuple(frames), tuple(lines))


def _columns(most: int, balanced: bool) -> tuple[float, float, float, int]:
    """Where doors, balancers and members begin, and how many members stand beside each other."""
    fixed = _WORLD[0] + _DOOR_WIDTH + (_frame_width(1) if balanced else 0)
    gaps = 3 if balanced else 2
    room = WIDTH - fixed - gaps * _BETWEEN[0]
    columns = max(1, int((room - _GAP) // (_NODE[0] + _GAP))) if most > _HIGH else 1
    between = min(_BETWEEN[1], (WIDTH - fixed - _frame_width(columns)) / gaps)
    door_x = _WORLD[0] + between
    pair_x = door_x + _DOOR_WIDTH + between
    return door_x, pair_x, pair_x + (_frame_width(1) + between if balanced else 0), columns


def _pairs(
    ways: Sequence[Way],
    members: Mapping[frozenset[int], Frame],
    reports: Mapping[str, MachineReport],
    x: float,
) -> dict[tuple[str, ...], Frame]:
    """Balancers, each pair at the height of what it leads to."""
    names = list(dict.fromkeys(way.balancers for way in ways if way.balancers))
    frames = [_frame("balancers", pair, reports, (x, 0), 1) for pair in names]
    tops = _stacked([_led_to(pair, ways, members) for pair in names], [frame.box.height for frame in frames])
    return {pair: _moved(frame, top) for pair, frame, top in zip(names, frames, tops, strict=True)}


def _led_to(
    balancers: tuple[str, ...], ways: Sequence[Way], members: Mapping[frozenset[int], Frame]
) -> list[Box]:
    return [
        frame.box
        for through, frame in members.items()
        if any(ways[i].balancers == balancers for i in through)
    ]


def _targets(
    ways: Sequence[Way],
    members: Mapping[frozenset[int], Frame],
    pairs: Mapping[tuple[str, ...], Frame],
) -> list[list[Box]]:
    """Where each way goes on behind its door."""
    direct = [[frame.box for through, frame in members.items() if i in through] for i in range(len(ways))]
    return [
        [pairs[way.balancers].box] if way.balancers else boxes
        for way, boxes in zip(ways, direct, strict=True)
    ]


def _doors(ways: Sequence[Way], targets: Sequence[Sequence[Box]], x: float, below: float) -> tuple[Door, ...]:
    """Doors without balancers stand lower than all balancers (`below`), so that their lines pass by."""
    heights = [40.0 + 18 * len(way.lines) for way in ways]
    balanced = [i for i, way in enumerate(ways) if way.balancers]
    direct = [i for i, way in enumerate(ways) if not way.balancers]
    tops = dict(
        zip(balanced, _stacked([targets[i] for i in balanced], [heights[i] for i in balanced]), strict=True)
    )
    free = max((tops[i] + heights[i] + _APART for i in balanced), default=0.0)
    free = max(free, below) if balanced else 0.0
    tops |= zip(
        direct, _stacked([targets[i] for i in direct], [heights[i] for i in direct], free), strict=True
    )
    return tuple(
        Door(Box(x, tops[i], _DOOR_WIDTH, heights[i]), way.title, way.lines, way.verdict)
        for i, way in enumerate(ways)
    )


def _frame(
    title: str,
    names: Sequence[str],
    reports: Mapping[str, MachineReport],
    at: tuple[float, float],
    columns: int,
) -> Frame:
    x, y = at
    nodes = tuple(
        Node(
            Box(
                x + _GAP + (i % columns) * (_NODE[0] + _GAP),
                y + _TITLE + (i // columns) * (_NODE[1] + _GAP),
                *_NODE,
            ),
            name,
            reports.get(name),
        )
        for i, name in enumerate(names)
    )
    rows = -(-len(names) // columns)
    return Frame(Box(x, y, _frame_width(columns), _TITLE + rows * (_NODE[1] + _GAP)), title, nodes)


def _frame_width(columns: int) -> int:
    return _GAP + columns * (_NODE[0] + _GAP)


def _moved(frame: Frame, top: float) -> Frame:
    by = top - frame.box.y
    nodes = tuple(replace(node, box=replace(node.box, y=node.box.y + by)) for node in frame.nodes)
    return replace(frame, box=replace(frame.box, y=top), nodes=nodes)


def _stacked(targets: Sequence[Sequence[Box]], heights: Sequence[float], free: float = 0.0) -> list[float]:
    """Tops in one column from `free` on: each as near to its targets' middle as those above it allow."""
    middles = [sum(box.middle for box in boxes) / max(1, len(boxes)) for boxes in targets]
    tops = [0.0] * len(heights)
    for i in sorted(range(len(heights)), key=middles.__getitem__):
        tops[i] = max(free, middles[i] - heights[i] / 2)
        free = tops[i] + heights[i] + _APART
    return tops
