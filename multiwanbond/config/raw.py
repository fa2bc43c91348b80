"""Settings that the model does not know: they are kept as written, for whoever declares them."""

from dataclasses import dataclass, field
from typing import Any

from .document import Listing, Mapping, Node, Scalar


@dataclass(frozen=True, slots=True)
class RawSection:
    """A section of the file, not interpreted; equal to another that says the same elsewhere."""

    node: Node = field(compare=False, repr=False)
    key: str = field(compare=False)
    content: Any

    @classmethod
    def of(cls, node: Node, key: str) -> "RawSection":
        """Return the section that stands under a key."""
        return cls(node, key, _content(node))


def _content(node: Node) -> Any:
    match node:
        case Scalar():
            return node.text
        case Listing():
            return tuple(_content(item) for item in node.items)
        case Mapping():
            return tuple((_content(name), _content(value)) for name, value in node.pairs)
