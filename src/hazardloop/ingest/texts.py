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

    `words` and `word_columns` are for `data` that begins and ends with `PADDING`, as `of` and
    `together` make it.
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

    def moved(self, by: int) -> tuple[Places, Places]:
        """Where they start and end once their data stands so much later."""
        return self.start + by, self.end + by

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

    def word_columns(self, most: int) -> list[Words]:
        """Letters 8n and following of each text as column n; 0 stands behind the last letter.

        `most`: letters that are looked at, of longer texts the first ones.
        """
        most = min(most, int(self.size.max(initial=0)))
        least = int(self.size.min(initial=most))
        columns = []
        for begin in range(0, most, 8):
            column = self.words[np.minimum(self.start + begin, len(self.data) - 8)]
            if least < begin + 8:
                column &= KEPT[np.clip(self.size - begin, 0, 8)]
            columns.append(column)
        return columns


def side_by_side(firsts: Sequence[bytes], seconds: Sequence[bytes]) -> tuple[Texts, Texts]:
    """The first ones and the second ones, in one buffer."""
    both = Texts.of((*firsts, *seconds))
    return both[: len(firsts)], both[len(firsts) :]


def together(parts: Sequence[tuple[Texts, Texts]]) -> tuple[Texts, Texts]:
    """All the first ones and all the second ones, in one buffer; those of a part share theirs."""
    pieces, firsts, seconds, size = [PADDING], [], [], len(PADDING)
    for first, second in parts:
        if len(first):
            begin = min(int(first.start[0]), int(second.start[0]))
            piece = first.data[begin : max(int(first.end[-1]), int(second.end[-1]))]
            firsts.append(first.moved(size - begin))
            seconds.append(second.moved(size - begin))
            pieces.append(piece)
            size += len(piece)
    data = b"".join((*pieces, PADDING))
    return _concatenated(data, firsts), _concatenated(data, seconds)


def _concatenated(data: bytes, places: Sequence[tuple[Places, Places]]) -> Texts:
    if not places:
        return Texts.of(())
    return Texts(data, *(np.concatenate(column) for column in zip(*places, strict=True)))


KEPT: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Masks that keep the first n letters of a word."""
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio: Knuth's multiplicative hashing."""
_FACTORS: Final = np.random.default_rng(0).integers(0, 2**63, 64, np.uint64) * 2 + 1
"""Odd and of no pattern; the same in every run."""


class TextTable:
    """Finds the number of a (group, text) pair, for many at once.

    Open addressing over a hash; what is found is compared letter by letter. A text whose hash is
    that of another is not found.
    """

    def __init__(self, group: Places, texts: Texts) -> None:
        """`group`: (n,) of each text; each pair once."""
        self._group = group
        self._size = texts.size
        self._longest = int(texts.size.max(initial=0))
        self._columns = texts.word_columns(self._longest)
        self._hash = _hashed(group, texts.size, self._columns)
        places = 1 << max(4, (2 * len(texts)).bit_length())
        self._mask = np.int64(places - 1)
        self._slots = np.full(places, -1, np.int32)
        self._fill()

    def _fill(self) -> None:
        left = np.arange(len(self._hash), dtype=np.int32)
        place = self._places(self._hash)
        while len(left):
            free = self._slots[place] < 0
            self._slots[place[free]] = left[free]
            again = self._slots[place] != left
            left, place = left[again], (place[again] + 1) & self._mask

    def _places(self, hashed: Words) -> Places:
        return (hashed >> np.uint64(32)).astype(np.int64) & self._mask

    def find(self, group: Places, texts: Texts) -> Places:
        """(n,) numbers of these pairs; -1: not in the table."""
        if len(self._hash) == 0:
            return np.full(len(texts), -1)
        # Anybody may send a code of 256 KiB beside ten thousand short ones.
        columns = texts.word_columns(self._longest)
        hashed = _hashed(group, texts.size, columns)
        place = self._places(hashed)
        found = self._slots[place].astype(np.intp)  # what indexes best
        left = np.flatnonzero((self._hash[found] != hashed) & (found >= 0))
        place = place[left]
        while len(left):
            place = (place + 1) & self._mask
            number = found[left] = self._slots[place]
            on = (number >= 0) & (self._hash[number] != hashed[left])
            left, place = left[on], place[on]
        same = (found >= 0) & (self._group[found] == group) & (self._size[found] == texts.size)
        for known, asked in zip(self._columns, columns, strict=False):
            same &= known[found] == asked
        if not same.all():
            found[~same] = -1
        return found


def _hashed(group: Places, size: Places, columns: Sequence[Words]) -> Words:
    """(n,) the same for the same pair, whatever stands beside it.

    Multilinear: a word that is not there is 0 and adds nothing.
    """
    hashed = (size << 32 | group).astype(np.uint64) * _SPREAD
    for nth, column in enumerate(columns):
        hashed += column * _FACTORS[nth % len(_FACTORS)]
    hashed ^= hashed >> np.uint64(32)
    return hashed * _SPREAD
