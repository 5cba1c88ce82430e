"""Many byte strings as places in one buffer, so that they can be compared as columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias, overload

import numpy as np
import numpy.typing as npt

Places: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]

PADDING: Final = bytes(16)
"""Stands behind the last text and before the first, so that a word can be read at each place."""


@dataclass(frozen=True)
class Texts(Sequence[bytes]):
    """Byte strings; text n is `data[start[n]:end[n]]`.

    `data` begins and ends with `PADDING`.
    """

    data: bytes
    start: Places
    end: Places

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> "Texts":
        """These texts, one behind the other."""
        listed = [*texts]
        end = len(PADDING) + np.cumsum(np.fromiter(map(len, listed), np.int64, len(listed)))
        start = np.concatenate(([len(PADDING)], end))[:-1]
        return cls(b"".join((PADDING, *listed, PADDING)), start, end)

    def __len__(self) -> int:
        """How many."""
        return len(self.start)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> "Texts": ...
    def __getitem__(self, at: int | slice) -> "bytes | Texts":
        """One text, or some of them."""
        if isinstance(at, slice):
            return Texts(self.data, self.start[at], self.end[at])
        return self.data[self.start[at] : self.end[at]]

    def chosen(self, at: npt.NDArray[np.integer]) -> "Texts":
        """The texts at these places, in that order."""
        return Texts(self.data, self.start[at], self.end[at])

    @cached_property
    def letters(self) -> npt.NDArray[np.uint8]:
        """(bytes of data,)."""
        return np.frombuffer(self.data, np.uint8)

    @cached_property
    def words(self) -> Words:
        """(bytes of data - 7,) the eight letters from each place on, the first one lowest."""
        return np.ndarray((len(self.data) - 7,), "<u8", self.data, strides=(1,))

    @cached_property
    def size(self) -> Places:
        """(n,) letters in each."""
        return self.end - self.start

    @property
    def most_words(self) -> int:
        """Words in the longest of them."""
        return (int(self.size.max(initial=0)) + 7) // 8

    def word(self, nth: int) -> Words:
        """(n,) letters 8 * nth and following of each text; 0 stands behind its last."""
        place = np.minimum(self.start + 8 * nth, len(self.data) - 8)
        return self.words[place] & KEPT[np.clip(self.size - 8 * nth, 0, 8)]


KEPT: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Masks that keep the first n letters of a word."""
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio: Knuth's multiplicative hashing."""


def _hashed(group: npt.NDArray[np.int64], texts: Texts) -> Words:
    """(n,) the same for the same pair, whatever stands beside it."""
    hashed = (group.astype(np.uint64) + texts.size.astype(np.uint64) * _SPREAD) * _SPREAD
    for nth in range(texts.most_words):
        mixed = (hashed ^ texts.word(nth)) * _SPREAD
        mixed ^= mixed >> np.uint64(29)
        hashed = np.where(texts.size > 8 * nth, mixed, hashed)
    return hashed * _SPREAD


class TextTable:
    """Finds the number of a (group, text) pair, for many at once.

    Open addressing over a hash; what is found is compared letter by letter. A text whose hash is
    that of another is not found.
    """

    def __init__(self, group: npt.NDArray[np.int64], texts: Texts) -> None:
        """`group`: (n,) of each text; each pair once."""
        self._group = group
        self._texts = texts
        self._hash = _hashed(group, texts)
        size = 1 << max(4, int(2 * len(texts)).bit_length())
        self._mask = size - 1
        self._slots = np.full(size, -1, np.int32)
        self._fill()

    def _fill(self) -> None:
        left = np.arange(len(self._texts), dtype=np.int32)
        place = self._places(self._hash)
        while len(left):
            free = self._slots[place] < 0
            self._slots[place[free]] = left[free]
            again = self._slots[place] != left
            left, place = left[again], (place[again] + 1) & self._mask

    def _places(self, hashed: Words) -> Places:
        return (hashed >> np.uint64(32)).astype(np.int64) & self._mask

    def _same(
        self,
        number: npt.NDArray[np.int32],
        group: npt.NDArray[np.int64],
        texts: Texts,
        at: Places,
    ) -> npt.NDArray[np.bool_]:
        """Whether entry `number` is that group, and text number `at` of `texts`."""
        known, asked = self._texts.chosen(number), texts.chosen(at)
        same = (self._group[number] == group) & (known.size == asked.size)
        for nth in range(asked.most_words):
            same &= known.word(nth) == asked.word(nth)
        return same

    def find(self, group: npt.NDArray[np.int64], texts: Texts) -> npt.NDArray[np.int32]:
        """(n,) numbers of these pairs; -1: not in the table."""
        found = np.full(len(texts), -1, np.int32)
        if len(self._texts) == 0:
            return found
        hashed = _hashed(group, texts)
        left, place = np.arange(len(texts)), self._places(hashed)
        while len(left):
            number = self._slots[place]
            there = number >= 0
            hit = there & (self._hash[number] == hashed[left])
            found[left[hit]] = number[hit]
            on = there & ~hit
            left, place = left[on], (place[on] + 1) & self._mask
        sure = found >= 0
        sure[sure] = self._same(found[sure], group[sure], texts, np.flatnonzero(sure))
        found[~sure] = -1
        return found
