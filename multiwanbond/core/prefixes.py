"""Longest-prefix look-up of inner addresses: which peer a packet is for, and who may send it."""

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from multiwanbond.core.settings import Prefix

_V = TypeVar("_V")

_REMEMBERED: Final = 4096
"""Answers kept, so that the usual packet costs one dictionary look-up; emptied when full, which a
scan of the whole Internet provokes and survives."""


class PrefixMap(Generic[_V]):
    """Maps packed addresses (4 or 16 bytes) to the value of the longest prefix that holds them."""

    __slots__ = ("_known", "_tables")

    def __init__(self, entries: Iterable[tuple[Prefix, _V]]) -> None:
        tables: dict[tuple[int, int], dict[int, _V]] = {}
        for prefix, value in entries:
            size = prefix.max_prefixlen // 8
            shift = prefix.max_prefixlen - prefix.prefixlen
            tables.setdefault((size, shift), {})[int(prefix.network_address) >> shift] = value
        self._tables = sorted(tables.items(), key=lambda item: item[0][1])
        self._known: dict[bytes, _V | None] = {}

    def lookup(self, address: bytes) -> _V | None:
        """Return the value of the longest matching prefix, or None."""
        known = self._known
        if address in known:
            return known[address]
        if len(known) >= _REMEMBERED:
            known.clear()
        found = known[address] = self._search(address)
        return found

    def _search(self, address: bytes) -> _V | None:
        number = int.from_bytes(address, "big")
        for (size, shift), table in self._tables:
            if size == len(address) and number >> shift in table:
                return table[number >> shift]
        return None
