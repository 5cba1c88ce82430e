"""Plain payloads, all at once: the JSON that almost every gateway sends, read as columns.

A payload is plain if it is, letter for letter,

    {"ts":1795300000123,"seq":88121,"values":{"GD-101.lel":12.5,"SD-9.smoke":true}}

with or without `seq`, with at most one space behind each colon and comma, a `ts` of 13 digits,
numbers of at most 16 letters without exponent, and codes without quotes. Everything else is left
to the JSON decoder, which also says what is wrong with it. What is plain is read to the very
values that the decoder would give. The letters of codes are not looked at: one with an escape, or
with what JSON does not allow, is no code that anybody has registered, and whoever looks it up in
vain leaves its message to the decoder.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hazardloop.devices.readings import Bools, Floats
from hazardloop.ingest.texts import KEPT, Places, Texts, Words

QUOTE, COMMA, COLON, SPACE, MINUS, ZERO, OPEN, CLOSE = (ord(letter) for letter in '",: -0{}')
_TS: Final = np.uint64(int.from_bytes(b'{"ts":', "little"))
_SEQ: Final = np.uint64(int.from_bytes(b'"seq":', "little"))
_VALUES: Final = np.uint64(int.from_bytes(b'"values"', "little"))
_TRUE: Final = np.uint64(int.from_bytes(b"true", "little"))
_FALSE: Final = np.uint64(int.from_bytes(b"false", "little"))
TS_DIGITS: Final = 13
MOST_DIGITS: Final = 15
"""Below 2**53: such a number divided by a power of ten is the nearest double there is."""
TENS: Final = 10 ** np.arange(17, dtype=np.int64)


def _each(letter: int) -> np.uint64:
    return np.uint64(letter * 0x0101_0101_0101_0101)


_ZEROS, _DOTS, _ONES, _HIGH = _each(ZERO), _each(ord(".")), _each(1), _each(0x80)
_TO_HIGH: Final = _each(0x80 - 10)
"""Lifts a byte over 9 to the high bit."""


@dataclass(frozen=True, slots=True)
class Plain:
    """What plain payloads say; columns over those payloads, then over their values.

    which: (m,) their places among all payloads, ascending.
    ts_ms: (m,); seq: (m,), -1 = none.
    sizes: (m,) how many values each holds.
    codes: (v,) of the values, in order.
    value: (v,) true is 1, false 0.
    boolean: (v,) true or false was said.
    """

    which: Places
    ts_ms: npt.NDArray[np.int64]
    seq: npt.NDArray[np.int64]
    sizes: Places
    codes: Texts
    value: Floats
    boolean: Bools

    def whole(self, good: Bools) -> Bools:
        """(m,) the payloads of which each value is good; `good` is (v,)."""
        whole: Bools = np.logical_and.reduceat(good, np.cumsum(self.sizes) - self.sizes)
        return whole

    def take(self, whole: Bools) -> "Plain":
        """Only these payloads, with their values."""
        kept = np.repeat(whole, self.sizes)
        return Plain(
            self.which[whole], self.ts_ms[whole], self.seq[whole], self.sizes[whole],
            self.codes.chosen(np.flatnonzero(kept)), self.value[kept], self.boolean[kept],
        )  # fmt: skip


def read_plain(payloads: Texts, wanted: Bools) -> Plain:
    """What the plain ones among the wanted payloads say.

    Args:
        payloads: n of them, each behind the one before it.
        wanted: (n,).
    """
    begin, end = (payloads.start[0], payloads.end[-1]) if len(payloads) else (0, 0)
    quotes = np.flatnonzero(payloads.letters[begin:end] == QUOTE) + begin
    heads = _read_heads(payloads, wanted, quotes)
    return _read_values(payloads, heads, quotes)


@dataclass(frozen=True, slots=True)
class _Heads:
    """Payloads that begin plainly; columns over them.

    which, ts_ms, seq: as in `Plain`.
    first: the place in the list of quotes of the one that opens the first code.
    sizes: codes in each, from 1.
    """

    which: Places
    ts_ms: npt.NDArray[np.int64]
    seq: npt.NDArray[np.int64]
    first: Places
    sizes: Places

    def take(self, which: Bools) -> "_Heads":
        return _Heads(
            self.which[which], self.ts_ms[which], self.seq[which], self.first[which],
            self.sizes[which],
        )  # fmt: skip


def _read_heads(payloads: Texts, wanted: Bools, quotes: Places) -> _Heads:
    words, letters = payloads.words, payloads.letters
    first, count = _quotes_in(payloads, quotes)
    # Six quotes at least, so that the quotes asked for below are all of the same payload.
    may = wanted & (count >= 6) & (count & 1 == 0)
    which = np.flatnonzero(may)
    if len(which) < len(may):
        payloads, first, count = payloads.chosen(which), first[which], count[which]
    start = payloads.start
    stamp = start + 6
    stamp += letters[stamp] == SPACE
    ts_ms, is_number = _stamp(words, stamp)
    good = (words[start] & KEPT[6] == _TS) & is_number
    comma = stamp + TS_DIGITS
    second = quotes[first + 2]
    good &= _comma_before(letters, second) == comma
    word = words[second]
    numbered = (word & KEPT[6] == _SEQ) & (count >= 8)
    seq, is_seq = _sequence(payloads, quotes, first, second, numbered)
    third = quotes[first + 2 + 2 * numbered]
    good &= is_seq & (words[third] == _VALUES) & (letters[third + 8] == COLON)
    brace = third + 9
    brace += letters[brace] == SPACE
    opening = 4 + 2 * numbered
    first += opening
    good &= (letters[brace] == OPEN) & (quotes[first] == brace + 1)
    end = payloads.end
    good &= (letters[end - 1] == CLOSE) & (letters[end - 2] == CLOSE)
    heads = _Heads(which, ts_ms, seq, first, (count - opening) >> 1)
    return heads if good.all() else heads.take(good)


def _quotes_in(payloads: Texts, quotes: Places) -> tuple[Places, Places]:
    """Of each payload its first place in the list of quotes, and how many it has."""
    first = np.searchsorted(quotes, payloads.start)
    # Most often there is no quote between two payloads, and this spares a second search.
    upto = np.append(first[1:], len(quotes))
    over = np.flatnonzero(upto > first)
    over = over[quotes[upto[over] - 1] >= payloads.end[over]]
    upto[over] = np.searchsorted(quotes, payloads.end[over])
    return first, upto - first


def _comma_before(letters: npt.NDArray[np.uint8], place: Places) -> Places:
    """Where the comma stands that comes before what begins at `place`; -1: there is none."""
    comma = place - 1
    comma -= letters[comma] == SPACE
    return np.where(letters[comma] == COMMA, comma, -1)


def _stamp(words: Words, at: Places) -> tuple[npt.NDArray[np.int64], Bools]:
    """The 13 digits at each place as a number, and whether they are digits and the first not 0."""
    high, low = words[at] - _ZEROS, words[at + TS_DIGITS - 8] - _ZEROS
    good = _digits_only(high) & _digits_only(low) & (high & np.uint64(0xFF) != 0)
    return _eight(high & KEPT[5]) * 10**5 + _eight(low), good


def _sequence(
    payloads: Texts, quotes: Places, first: Places, second: Places, numbered: Bools
) -> tuple[npt.NDArray[np.int64], Bools]:
    """The number behind `"seq":`, -1 where there is none; whether it is plain."""
    if not numbered.any():
        return np.full(len(first), -1), ~numbered
    start = second + 6
    start += payloads.letters[start] == SPACE
    end = _comma_before(payloads.letters, quotes[first + 4 * numbered])
    number, good = _whole(payloads, start, end)
    return np.where(numbered, number, -1), good | ~numbered


def _whole(payloads: Texts, start: Places, end: Places) -> tuple[npt.NDArray[np.int64], Bools]:
    """The whole numbers of at most 15 digits from `start` to `end`, and whether they are."""
    size, end, good = _sized(start, end, MOST_DIGITS)
    low = _right_aligned(payloads.words[end - 8], np.minimum(size, 8)) - _ZEROS
    good &= _digits_only(low) & ((size == 1) | (payloads.letters[start] != ZERO))
    number = _eight(low)
    if int(size.max(initial=0)) > 8:
        high = _right_aligned(payloads.words[end - 16], np.maximum(size - 8, 0)) - _ZEROS
        good &= _digits_only(high)
        number += _eight(high) * 10**8
    return number, good


def _sized(start: Places, end: Places, most: int) -> tuple[Places, Places, Bools]:
    """Size and end of what may be numbers of 1 to `most` letters; harmless ones for the others."""
    size = end - start
    good = (size >= 1) & (size <= most)
    if good.all():
        return size, end, good
    return np.where(good, size, 1), np.where(good, end, 16), good


def _read_values(payloads: Texts, heads: _Heads, quotes: Places) -> Plain:
    final = payloads.end[heads.which] - 2
    if len(final) == heads.sizes.sum():
        opening, last = heads.first, np.True_
    else:
        of_head = np.repeat(np.arange(len(final)), heads.sizes)
        ends = np.cumsum(heads.sizes)
        nth = np.arange(len(of_head)) - (ends - heads.sizes)[of_head]
        opening, final = heads.first[of_head] + 2 * nth, final[of_head]
        last = nth == (heads.sizes - 1)[of_head]
    code_start, code_end = quotes[opening] + 1, quotes[opening + 1]
    letters = payloads.letters
    start = code_end + 2
    start += letters[start] == SPACE
    end = final
    if not last.all():
        following = quotes[np.minimum(opening + 2, len(quotes) - 1)]
        end = np.where(last, final, _comma_before(letters, following))
    value, boolean, good = _values(payloads, start, end)
    good &= letters[code_end + 1] == COLON
    codes = Texts(payloads.data, code_start, code_end)
    plain = Plain(heads.which, heads.ts_ms, heads.seq, heads.sizes, codes, value, boolean)
    if good.all():
        return plain
    return plain.take(plain.whole(good))


def _values(payloads: Texts, start: Places, end: Places) -> tuple[Floats, Bools, Bools]:
    """What is said from `start` to `end`, whether it is true or false, whether it is plain."""
    letters, words = payloads.letters, payloads.words
    negative = letters[start] == MINUS
    value, good = _decimals(payloads, start + negative, end)
    value[negative] *= -1
    if good.all():
        return value, ~good, good
    word, size = words[start], end - start
    true = (size == 4) & (word & KEPT[4] == _TRUE)
    boolean = true | ((size == 5) & (word & KEPT[5] == _FALSE))
    return np.where(boolean, true, value), boolean, good | boolean


def _decimals(payloads: Texts, start: Places, end: Places) -> tuple[Floats, Bools]:
    """The numbers without sign from `start` to `end`; JSON's grammar, no exponent.

    Eight letters are read at a time, the last ones first; what stands before `start` becomes 0.
    Where it is no such number, which the second column says, the first means nothing.
    """
    size, end, good = _sized(start, end, MOST_DIGITS + 1)
    low = _right_aligned(payloads.words[end - 8], np.minimum(size, 8))
    dots = _dots(low)
    count, behind = np.bitwise_count(dots), 7 - _before(dots)
    low = _without(low, dots)
    good &= _digits_only(low)
    digits = _eight(low)
    if int(size.max(initial=0)) > 8:
        high = _right_aligned(payloads.words[end - 16], np.maximum(size - 8, 0))
        dots = _dots(high)
        behind = np.where(count == 0, 15 - _before(dots), behind)
        count += np.bitwise_count(dots)
        high = _without(high, dots)
        good &= _digits_only(high)
        digits += _eight(high) * 10**8
    dotted = count == 1
    good &= (count <= 1) & (size <= MOST_DIGITS + dotted)
    fraction = np.where(dotted, behind, 0)
    power = TENS[fraction]
    right = digits % power
    # The digits stand with a 0 in place of the dot: those before it are ten times too large.
    digits = np.where(dotted, (digits - right) // 10 + right, digits)
    whole = size - fraction - dotted
    good &= (whole >= 1) & (fraction >= dotted)
    good &= (whole == 1) | (payloads.letters[start] != ZERO)
    return digits / power, good


def _right_aligned(word: Words, size: Places) -> Words:
    """The last `size` letters of each word, zeros (the digit) before them."""
    kept = ~KEPT[8 - size]
    return (word & kept) | (_ZEROS & ~kept)


def _dots(word: Words) -> Words:
    """The high bit of each letter that is a dot; of a `/` behind it perhaps too.

    Source: the test for a zero byte of Mycroft (1987), as in "Hacker's Delight", 6-1.
    """
    other = word ^ _DOTS
    return (other - _ONES) & ~other & _HIGH


def _before(dots: Words) -> Places:
    """How many letters stand before the first dot; 8 where there is none."""
    before: Places = np.bitwise_count((dots & -dots) - np.uint64(1)).astype(np.int64) >> 3
    return before


def _without(word: Words, dots: Words) -> Words:
    """The word with the digit 0 in place of its dot, less the letter of that digit."""
    return (word ^ ((dots >> np.uint64(7)) * np.uint64(ord(".") ^ ZERO))) - _ZEROS


def _digits_only(word: Words) -> Bools:
    """Whether each of the eight bytes is 0 to 9."""
    digits: Bools = ((word | (word + _TO_HIGH)) & _HIGH) == 0
    return digits


def _eight(word: Words) -> npt.NDArray[np.int64]:
    """The number of eight digits, the first one in the lowest byte.

    Source: Lemire, "Quickly parsing eight digits" (2018).
    """
    pairs = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF_00FF_00FF_00FF)
    fours = (pairs * np.uint64(100) + (pairs >> np.uint64(16))) & np.uint64(0x0000_FFFF_0000_FFFF)
    eights = fours * np.uint64(10_000) + (fours >> np.uint64(32))
    return (eights & np.uint64(0xFFFF_FFFF)).astype(np.int64)
