"""Where everything stands in the text of a fleet file, and the edits that touch only what is meant. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from mailwright.model.document import quote
from mailwright.model.errors import FleetError

LISTS = (
    "mx",
    "members",
    "served_by",
    *(f"{p}{s}" for p in ("submission", "imap", "pop3") for s in ("", "s")),
)
"""Keys of lists that name machines, below `domains` and `pools`."""

Edit = tuple[int, int, str]
"""The octets from one place to another, and what stands there instead."""


class Tree:
    """A fleet file's text with the places of its values."""

    def __init__(self, text: str, root: MappingNode, aliases: list[tuple[str, int, int]]) -> None:
        self.text = text
        self.lines = text.splitlines(keepends=True)
        self._root = root
        self._aliases = aliases
        starts = [0]
        for line in self.lines:
            starts.append(starts[-1] + len(line))
        self._starts = starts

    @classmethod
    def of(cls, text: str) -> Tree:
        """The places in a text that is YAML.

        Raises:
            FleetError: it holds no machines.
        """
        root = YAML(typ="safe", pure=True).compose(text)
        if not isinstance(root, MappingNode):
            raise FleetError(["the fleet file has no machines"])
        events = YAML(typ="safe", pure=True).parse(text)
        aliases = [
            (str(e.anchor), e.start_mark.index, e.end_mark.index) for e in events if isinstance(e, AliasEvent)
        ]
        return cls(text, root, aliases)

    def has(self, name: str, *keys: str) -> bool:
        """Whether a machine says something under these keys."""
        node: Node | None = self._machine(name)
        for key in keys:
            node = _value(node, key)
        return node is not None

    def lines_of(self, name: str) -> tuple[int, int]:
        """The lines of a machine's entry, from the first to the one after the last."""
        node = self._machine(name)
        return node.start_mark.line, self._last_line(node) + 1

    def _machine(self, name: str) -> Node:
        machines = _value(self._root, "machines")
        if not isinstance(machines, SequenceNode) or machines.flow_style:
            raise FleetError(["`machines` is no list of `- name: ...` entries; edit the fleet file by hand"])
        node = next((n for n in machines.value if _text(_value(n, "name")) == name), None)
        if node is None:
            raise FleetError([f"the fleet has no machine {quote(name)}"])
        return cast("Node", node)

    def _last_line(self, node: Node) -> int:
        """The line on which its last value ends: a block's own end mark is where the next thing begins."""
        if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
            return int(node.end_mark.line)
        last = node.value[-1]
        parts = [last] if isinstance(node, SequenceNode) else list(last)
        ends = [self._last_line(part) for part in parts if part.start_mark.line >= node.start_mark.line]
        after = [self._line_at(end) for _, start, end in self._aliases if self._within(start, node)]
        return max([*ends, *after])

    def _within(self, index: int, node: Node) -> bool:
        return bool(node.start_mark.index <= index < node.end_mark.index)

    def _line_at(self, index: int) -> int:
        return self.text.count("\n", 0, index)

    def machine(self, name: str) -> Iterator[Edit]:
        """The edits that take a machine's entry out, and give its anchors to others."""
        first, last = self.lines_of(name)
        start, end = self._starts[first], self._starts[last]
        yield start, end, ""
        for anchor, node in _anchors(self._root):
            if not start <= node.start_mark.index < end:
                continue
            users = [(s, e) for a, s, e in self._aliases if a == anchor and not start <= s < end]
            if users:
                yield (*users[0], self._anchored(node))

    def added(self, name: str, key: str, value: str) -> Edit:
        """The edit that has a machine say something more, below its name."""
        node = cast("MappingNode", self._machine(name))
        first = node.value[0][0]
        if node.flow_style:
            return first.start_mark.index, first.start_mark.index, f"{key}: {value}, "
        below = next(self._last_line(v) for k, v in node.value if _text(k) == "name") + 1
        return self.below(below, f"{' ' * first.start_mark.column}{key}: {value}\n")

    def dropped(self, name: str, key: str) -> Edit | None:
        """The edit that has a machine say something no more; none where it does not say it itself.

        A value of a line of its own, after the first: its line goes, with what is remarked on it.
        """
        node = cast("MappingNode", self._machine(name))
        place = next((i for i, (k, _) in enumerate(node.value) if _text(k) == key), None)
        if place is None:
            return None
        start, more = node.value[place][0].start_mark, node.value[place + 1 :]
        if node.flow_style and more:
            return start.index, more[0][0].start_mark.index, ""
        if node.flow_style or not place:
            raise FleetError([f"`{key}` of {name}: take it out by hand"])
        return self._starts[start.line], self._starts[start.line + 1], ""

    def _anchored(self, node: Node) -> str:
        """What an anchor stands for, the anchor in front of it."""
        if not isinstance(node, CollectionNode) or node.flow_style:
            return self.text[node.start_mark.index : node.end_mark.index]
        return self.text[node.start_mark.index : self._starts[self._last_line(node) + 1]].rstrip("\n")

    def below(self, line: int, text: str) -> Edit:
        """The edit that puts lines in front of a line."""
        return self._starts[line], self._starts[line], text

    def entries(self, name: str) -> Iterator[Edit]:
        """The edits that take a name out of the lists that have others."""
        for node, i in self._named(name):
            item, more = node.value[i], node.value[i + 1 :]
            if len(node.value) == 1:
                continue
            if not node.flow_style:
                line = item.start_mark.line
                yield self._starts[line], self._starts[line + 1], ""
            elif more:
                yield item.start_mark.index, more[0].start_mark.index, ""
            else:
                yield node.value[i - 1].end_mark.index, item.end_mark.index, ""

    def doubled(self, name: str, new: str) -> Iterator[Edit]:
        """The edits that put a new name behind another one in every list."""
        for node, i in self._named(name):
            item = node.value[i]
            if node.flow_style:
                yield item.end_mark.index, item.end_mark.index, f", {new}"
            else:
                yield self.below(item.start_mark.line + 1, f"{' ' * (item.start_mark.column - 2)}- {new}\n")

    def _named(self, name: str) -> Iterator[tuple[SequenceNode, int]]:
        """Each list that holds a name, and where in it."""
        lists = [node for s in ("domains", "pools") for node in _sequences(_value(self._root, s))]
        for node in {id(node): node for node in lists}.values():  # what an alias repeats is one list
            yield from ((node, i) for i, item in enumerate(node.value) if _text(item) == name)


def _sequences(node: Node | None) -> Iterator[SequenceNode]:
    """The lists that name machines, anywhere below a node."""
    for part in node.value if isinstance(node, SequenceNode) else ():
        yield from _sequences(part)
        for key, value in part.value if isinstance(part, MappingNode) else ():
            if _text(key) in LISTS and isinstance(value, SequenceNode):
                yield value
            elif isinstance(value, MappingNode):
                yield from _sequences(SequenceNode("", [value]))


def _anchors(root: Node) -> Iterator[tuple[str, Node]]:
    """Every anchor with its value, once: in the tree an alias is the very value it stands for."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.anchor:
            yield str(node.anchor), node
        if isinstance(node, MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            waiting += node.value


def _value(node: Node | None, key: str) -> Node | None:
    pairs = node.value if isinstance(node, MappingNode) else ()
    return next((value for name, value in pairs if _text(name) == key), None)


def _text(node: Node | None) -> str | None:
    return str(node.value) if isinstance(node, ScalarNode) else None
