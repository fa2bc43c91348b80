"""Turns YAML (so JSON, too) into a tree of texts that know their place in the file.

Scalars stay text, for the declared type of each setting decides what they mean. YAML 1.1 by itself
would read `no` as false, `010` as eight, and `22:22` as 1342.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from multiwanbond.errors import ConfigError, ConfigFileError

from .origin import Mark, Origin

LARGEST: Final = 1 << 20
"""Bytes: thousands of peers. Reading takes about 3 µs for each."""
DEEPEST: Final = 20
"""Levels; the model has four. Bounds the recursion here and in whoever walks the tree."""

NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})
"""Plain texts that mean "no value" (YAML 1.1, type null)."""


@dataclass(slots=True)
class Scalar:
    """A text, not yet interpreted."""

    mark: Mark
    text: str
    is_quoted: bool

    @property
    def is_nothing(self) -> bool:
        """True for `key:` with nothing after it, and for null."""
        return not self.is_quoted and self.text in NOTHING

    @property
    def is_empty_text(self) -> bool:
        """True for ""."""
        return self.is_quoted and not self.text

    def describe(self) -> str:
        """Return it for an error message."""
        return "nothing" if self.is_nothing else repr(self.text)


@dataclass(slots=True)
class Listing:
    """A YAML sequence."""

    mark: Mark
    items: list["Node"]

    def describe(self) -> str:
        """Return it for an error message."""
        return "a list"


@dataclass(slots=True)
class Mapping:
    """A YAML mapping; pairs rather than a dictionary, to be able to see duplicate keys."""

    mark: Mark
    pairs: list[tuple["Node", "Node"]]

    def describe(self) -> str:
        """Return it for an error message."""
        return "a section"


Node = Scalar | Listing | Mapping


def read_document(data: bytes, origin: Origin) -> Node | None:
    """Return the tree of a file's content; None if there is nothing in it.

    Raises:
        ConfigFileError: it is not UTF-8, not YAML, too large or nested too deeply.
    """
    if len(data) > LARGEST:
        raise _unreadable(
            origin, None, f"is larger than {LARGEST} bytes", "Is this really the configuration?"
        )
    text = _decode(data, origin)
    if text.lstrip().startswith("{"):
        # JSON may be indented with tabs, YAML may not. Within JSON's strings there are none.
        text = text.replace("\t", " ")
    try:
        return _Composer(yaml.parse(text, Loader=yaml.SafeLoader), origin).compose()
    except yaml.MarkedYAMLError as exc:
        place = exc.problem_mark or exc.context_mark
        problem = " ".join(part for part in (exc.context, exc.problem) if part)
        raise _bad_syntax(origin, _mark(place) if place else None, problem) from exc
    except yaml.reader.ReaderError as exc:
        problem = f"the character #x{int(exc.character):04x} is not allowed"
        raise _bad_syntax(origin, _mark_at(text, exc.position), problem) from exc


def _decode(data: bytes, origin: Origin) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = data[: exc.start].decode("utf-8-sig")
        mark = _mark_at(before, len(before))
        found = f"byte 0x{data[exc.start]:02x} is not UTF-8"
        raise _unreadable(origin, mark, found, "Save the file as UTF-8.") from exc


def _mark(place: yaml.Mark) -> Mark:
    return Mark(place.line + 1, place.column + 1)


def _start_of(event: yaml.Event) -> Mark:
    assert event.start_mark is not None
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _mark_at(text: str, position: int) -> Mark:
    before = text[:position]
    return Mark(before.count("\n") + 1, position - before.rfind("\n"))


def _unreadable(origin: Origin, mark: Mark | None, problem: str, remedy: str) -> ConfigFileError:
    where = origin.at(mark) if mark else origin.where("")
    return ConfigFileError([ConfigError(where, f"{problem}.", remedy)])


def _bad_syntax(origin: Origin, mark: Mark | None, problem: str) -> ConfigFileError:
    return _unreadable(
        origin,
        mark,
        f"is not YAML: {problem}",
        "Look for a missing quote, bracket or colon, and for uneven indentation, here or just "
        "above.",
    )


class _Composer:
    """Builds the tree from the parser's events.

    PyYAML's own composer recurses without limit: a file of ten thousand brackets would end in a
    RecursionError.
    """

    def __init__(self, events: Iterator[yaml.Event], origin: Origin) -> None:
        self._events = events
        self._origin = origin
        self._anchors: dict[str, Node | None] = {}
        """None while the node is still being read."""

    def compose(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._refuse(
                    event, "a second document begins here", 'Remove the line "---" and the rest.'
                )
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, 0)
        if isinstance(root, Scalar) and root.is_nothing:
            return None
        return root

    def _node(self, event: yaml.NodeEvent, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > DEEPEST:
            raise self._refuse(event, "is nested too deeply", "No setting lies that deep.")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            raise self._refuse(event, f"the tag {tag!r} has no use here", "Remove it.")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        mark = _start_of(event)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(mark, self._text(event), event.style is not None)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Listing(mark, list(self._items(depth)))
        else:
            items = list(self._items(depth))
            node = Mapping(mark, list(zip(items[::2], items[1::2], strict=True)))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _text(self, event: yaml.ScalarEvent) -> str:
        """Return the text, in which JSON escapes large characters as two surrogates."""
        try:
            return event.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError as exc:
            raise self._refuse(
                event, "half a character is escaped here", "Write the character itself."
            ) from exc

    def _items(self, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.CollectionEndEvent):
                return
            assert isinstance(event, yaml.NodeEvent)
            yield self._node(event, depth + 1)

    def _alias(self, event: yaml.AliasEvent) -> Node:
        """Return the node itself, not a copy: it cannot be multiplied beyond the model's depth."""
        assert event.anchor is not None
        node = self._anchors.get(event.anchor)
        if node is None:
            is_open = event.anchor in self._anchors
            problem = "refers to itself" if is_open else f"there is no anchor '&{event.anchor}'"
            raise self._refuse(event, problem, "Write the value out.")
        return node

    def _refuse(self, event: yaml.Event, problem: str, remedy: str) -> ConfigFileError:
        return _unreadable(self._origin, _start_of(event), problem, remedy)
