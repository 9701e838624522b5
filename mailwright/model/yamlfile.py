"""YAML 1.2 read into plain data that remembers its lines, safe against anything a file may hold.

Only composing is left to ruamel.yaml; values are made here, out of the handful of types a fleet file
has, so that no tag can construct an object and no alias can blow up memory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from mailwright.model.document import Document, Where, display, quote, show
from mailwright.model.errors import FleetError

MAX_BYTES = 2 * 1024 * 1024
"""A fleet of 5,000 machines takes about 1.5 MB."""
MAX_VALUES = 250_000
"""Values after aliases are followed: the "billion laughs" bomb has 10^9 in ten lines."""

_BINARY = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "value")}
_BOOLS = {"true": True, "false": False}
_NUMBER = re.compile(r"[-+]?(\d+|0o[0-7]+|0x[0-9a-fA-F]+|(\d*\.\d+|\d+\.?)([eE][-+]?\d+)?)")
_WORDINGS = (
    (r"found character '\\t'", "a tab: YAML indents and separates with spaces"),
    (r"found character '(.)'", r"a value cannot start with \1: put it in quotes"),
    (
        r"mapping values are not allowed",
        "an unexpected ': ': check the indentation, or put the value in quotes",
    ),
    (r"found undefined alias '(.*)'", r"*\1 refers to an anchor &\1 that is not above it"),
    (r"but found another document", "a second '---' document: a fleet file is one document"),
    (r"found unexpected end of stream", "a quote that is opened here or above is never closed"),
    (r"found duplicate anchor", "an anchor of this name exists already"),
    (r"could not find expected ':'", "a key without its ':'"),
    (
        r"expected <block end>|expected the node|expected ',' or",
        "the indentation, a bracket or a quote is wrong here",
    ),
)


def read(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises:
        FleetError: it cannot be read, is not YAML, or says a key twice.
    """
    name = display(path)
    try:
        if path.is_dir():
            raise FleetError([f"{name}:1: a directory, where a YAML file was expected"])
        if not path.is_file() and path.exists():
            raise FleetError([f"{name}:1: not a regular file"])
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise FleetError([f"{name}:1: no such file"]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a usable path"
        raise FleetError([f"{name}:1: cannot be read: {reason}"]) from None
    return parse(raw, name)


def parse(raw: bytes, name: str) -> Document:
    """As `read`, from the bytes of a file that messages shall call `name`."""
    if len(raw) > MAX_BYTES:
        raise FleetError([f"{name}:1: larger than {MAX_BYTES // 1024 // 1024} MiB, which is no fleet file"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FleetError([f"{name}:{line}: not UTF-8 text"]) from None
    if binary := _BINARY.search(text):
        line = text.count("\n", 0, binary.start()) + 1
        raise FleetError([f"{name}:{line}: a control character: this is not a text file"])
    try:
        return _document(_compose(text, name), name)
    except RecursionError:
        raise FleetError([f"{name}:1: nested too deeply"]) from None


def _document(root: Node | None, name: str) -> Document:
    if root is None:
        raise FleetError([f"{name}:1: empty"])
    document = Document(name)
    if not isinstance(root, MappingNode):
        raise FleetError([f"{name}:{_line(root)}: the top level must be `key: value` lines"])
    _refuse_bombs(root, name)
    reader = _Reader(document)
    document.data = reader.mapping(root, ())
    if reader.mistakes:
        raise FleetError(reader.mistakes)
    return document


def _compose(text: str, name: str) -> Node | None:
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = min(mark.line, text.count("\n")) + 1 if mark else 1
        raise FleetError([f"{name}:{line}: not valid YAML: {_wording(error)}"]) from None
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError):
        # ruamel.yaml lets some malformed directives and escapes surface as built-in errors
        raise FleetError([f"{name}:1: not valid YAML"]) from None
    return node


def _wording(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "unreadable")
    for pattern, wording in _WORDINGS:
        if found := re.search(pattern, problem):
            return found.expand(wording)
    return quote(problem)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _refuse_bombs(root: Node, name: str) -> None:
    """Count the values as if every alias were written out; an alias inside its own anchor has no end."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Node) -> int:
        if id(node) in open_nodes:
            raise FleetError([f"{name}:{_line(node)}: an anchor that contains itself"])
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
            open_nodes.discard(id(node))
        return sizes[id(node)]

    if size(root) > MAX_VALUES:
        raise FleetError([f"{name}:1: more than {MAX_VALUES} values once its aliases are written out"])


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


class _Reader:
    """Turns nodes into data and remembers lines and mistakes on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.mistakes: list[str] = []

    def value(self, node: Node, where: Where) -> object:
        key_line = self.document.keys.get(where)
        plain = isinstance(node, ScalarNode) and node.value != ""
        self.document.lines[where] = _line(node) if plain or key_line is None else key_line
        self.document.nodes[where] = id(node)
        if isinstance(node, MappingNode) and self._tagged(node, where, "map"):
            return self.mapping(node, where)
        if isinstance(node, SequenceNode) and self._tagged(node, where, "seq"):
            return [self.value(item, (*where, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, where) if isinstance(node, ScalarNode) else None

    def _tagged(self, node: Node, where: Where, expected: str) -> bool:
        if str(node.tag) == _TAG + expected:
            return True
        self._mistake(where, f"a tag has no meaning here: {quote(str(node.tag).removeprefix(_TAG))}", node)
        return False

    def mapping(self, node: MappingNode, where: Where) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._mistake(where, "a key must be a plain word", key_node)
            elif str(key_node.tag) == _TAG + "merge":
                merged |= self._merge(value_node, where)
            elif key_node.value in result:
                first = self.document.keys[*where, key_node.value]
                self._mistake((*where, key_node.value), f"said twice; first on line {first}", key_node)
            else:
                inner = (*where, key_node.value)
                self.document.keys[inner] = _line(key_node)
                result[key_node.value] = self.value(value_node, inner)
        return {**merged, **result}

    def _merge(self, node: Node, where: Where) -> dict[str, Any]:
        """`<<: *anchor`, kept from YAML 1.1 because people know it: the mapping's own keys win."""
        lines, keys = dict(self.document.lines), dict(self.document.keys)
        merged = self.value(node, where)
        # What the merge brought keeps the anchor's lines; what the mapping says itself keeps its own.
        self.document.lines |= lines
        self.document.keys |= keys
        if not isinstance(merged, dict):
            self._mistake(where, "<< takes one mapping", node)
            return {}
        return merged

    def _scalar(self, node: ScalarNode, where: Where) -> object:
        text, tag = str(node.value), str(node.tag)
        if tag not in _PLAIN_TAGS:
            self._mistake(where, f"a tag has no meaning here: {quote(tag.removeprefix(_TAG))}", node)
        if _BINARY.search(text):
            self._mistake(where, "holds a control character", node)
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool":
            return _BOOLS.get(text.lower(), text)
        if tag in (_TAG + "int", _TAG + "float") and _NUMBER.fullmatch(text):
            return _number(text)
        return text

    def _mistake(self, where: Where, what: str, node: Node) -> None:
        place = f"{show(where)}: " if where else ""
        self.mistakes.append(f"{self.document.name}:{_line(node)}: {place}{what}")


def _number(text: str) -> int | float | str:
    for kind in (lambda t: int(t, 0) if "0o" in t or "0x" in t else int(t), float):
        try:
            return kind(text)
        except ValueError:  # a float, or more digits than Python reads
            continue
    return text
