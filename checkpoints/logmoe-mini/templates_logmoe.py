"""Masked texts in, templates out: words that vary, such as names of users, tables or packages, become slots.

Masks know variable words by their shape; a name has none. Templates are therefore learned from a log's own distinct
masked texts: a word is a slot where, all others equal, many values were seen. A second, coarser granularity of a log,
by which a reference knows an entry it has never read. What was learned depends on the set of texts alone, not on their
order or number; so the templates of two logs together are those of the union of their texts.
"""

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import buffers, dictionary_indices, matches
from .parsing_logmoe import check_integer
from .severities_logmoe import VOCABULARY

SLOT = "<*>"
# What the masks make of numbers, decimal and hexadecimal.
NUMBERS = "<NUM>", "<HEX>"

# ---------------------------------------------------------------------- words

# A word is what stands between spaces, brackets, quotes and the like, so that of `user="bob",` the value varies and
# the key stays. What is in between, the gaps, never varies. A placeholder is never taken apart, nor are numbers.
_WORD = re.compile(r"""((?:<[A-Z_]+>|<\*>|[^\s=:,;"'`()\[\]{}<>|@\\?&]+|(?<=<NUM>):(?=<NUM>))+)""")
# Words of a text that may vary; all after them must be equal. Bounds time and memory, whatever the input.
MAX_WORDS = 64

# Words that matter, beside severities: a state or an outcome is news however many others were seen in its place.
_STATES = """
    abnormal abort aborted aborting absent accept accepted accepting ack active alive allow allowed attach attached
    auth authenticated authorized available away bad banned begin blocked bound broken busy bye cancel canceled
    cancelled cannot clean close closed closing commit complete completed config-files configure configured
    confirmed connect connected connecting corrupt corrupted crash crashed create created dead defunct degraded
    delayed delete deleted denied deny detach detached detected died dirty disable disabled disabling disallowed
    disappeared discarded disconnect disconnected done down downgrade drop dropped duplicate empty enable enabled
    enabling end ended established evicted exceeded exceptions excluded exhausted exist exists exit exited exiting
    expired failing failover fails false finish finished follower forbidden forced found full gone good granted
    half-configured half-installed halted healthy ignored illegal inactive incomplete incorrect insecure install
    installed interrupted invalid join joined kill killed late leader leave left listening load loaded locked login
    logout looking lost master match mismatch missing mount mounted nack never new no none normal not not-installed
    null off offline ok okay on online open opened opening orphaned ours out passed passive pause paused pending
    permitted postponed primary purge purged queued reachable read-only read-write ready reboot received recovered
    recovering refused register registered reject rejected reload reloaded remove removed repaired replica reset
    restart restarted restarting restored resume resumed retry revoked rollback rolled running secondary secure
    sent shut shutdown skipped slave slow stale standby start started starting stop stopped stopping stuck succeed
    succeeded succeeds successful successfully suspended terminate terminated terminating theirs timed timeout
    triggers-awaited triggers-pending trigproc true trusted unable unauthorized unavailable unblocked unbound
    undefined unexpected unhealthy uninstall uninstalled unknown unloaded unlocked unmount unmounted unpacked
    unreachable unreadable unregistered unsafe unsuccessful unsupported untrusted up update updated upgrade
    upgraded valid violated waiting warm wrong yes zombie
"""
_KEPT_WORDS = sorted(set(_STATES.split()) | set(VOCABULARY))
# Digits that the masks left (a status, an exit code, an errno, a line's level), an HTTP class, errno and signal names,
# a level's letter, and marks alone: `-` in the place of a user says that there is none.
_KEPT_SHAPE = r"[0-9]|<HTTP_|^(?:E[A-Z]{3,}|SIG[A-Z]+|[A-Z])$|^[^\pL\pN]+$"
# Words that look like states though not listed: participles, constants, compounds of a word that matters. As values
# of a slot they count this little: a few of them are alternatives, hundreds are names.
_STATE_SHAPE = r"^[\pL_-]{2,}(?:ed|ing)$|^[A-Z][A-Z_-]+$"
_STATE_WEIGHT = 1 / 8
_PLACEHOLDER = r"<[A-Z_]+>|<\*>"
_KEY_GAP = r"""^(?:=|\\*["']\s*[:=])"""


@dataclass
class _Words:
    """Texts as words and the gaps around them.

    Attributes:
        words: int64 `(texts, places)`, the row of each word in a vocabulary; -1 behind the end, -2 if it is not in it.
        gaps: int64 `(texts, places + 1)`, likewise; the last one of a text holds all that follows its words.
    """

    words: np.ndarray
    gaps: np.ndarray

    def take(self, rows: np.ndarray) -> "_Words":
        return _Words(self.words[rows], self.gaps[rows])


def _split(texts: Sequence[str]) -> tuple[np.ndarray, pa.Array, pa.Array]:
    """Words per text, int64 `(texts,)`, and the words and gaps of all texts, one text after the other."""
    parts = [_WORD.split(text, MAX_WORDS) for text in texts]
    counts = np.fromiter((len(part) // 2 for part in parts), dtype=np.int64, count=len(parts))
    words = pa.array(list(itertools.chain.from_iterable(part[1::2] for part in parts)), pa.large_string())
    gaps = pa.array(list(itertools.chain.from_iterable(part[::2] for part in parts)), pa.large_string())
    return counts, words, gaps


def _table(counts: np.ndarray, codes: np.ndarray, places: int) -> np.ndarray:
    """Codes of all texts, one text after the other, as a table `(texts, places)` padded with -1."""
    table = np.full((len(counts), places), -1, dtype=np.int64)
    table[np.arange(places) < counts[:, None]] = codes
    return table


def _read(texts: Sequence[str]) -> tuple[_Words, pa.Array, pa.Array]:
    """Texts with a vocabulary of their own: the words and the gaps."""
    counts, all_words, all_gaps = _split(texts)
    words, gaps = pc.dictionary_encode(all_words), pc.dictionary_encode(all_gaps)
    places = max(int(counts.max()), 1)
    table = _Words(
        _table(counts, dictionary_indices(words), places), _table(counts + 1, dictionary_indices(gaps), places + 1)
    )
    return table, words.dictionary, gaps.dictionary


def _slot(words: pa.Array) -> int:
    """The row of `SLOT` in a vocabulary, or -1."""
    return int(pc.index(words, SLOT).as_py())


def _look_up(values: pa.Array, known: pa.Array) -> np.ndarray:
    return pc.index_in(values, value_set=known).fill_null(-2).to_numpy(zero_copy_only=False).astype(np.int64)


def _kept(words: pa.Array) -> np.ndarray:
    """Which words never stand for a slot, bool `(words,)`."""
    without = pc.replace_substring_regex(words, r"<(?:[A-GI-Z]|H[A-SU-Z])[A-Z_]*>|<\*>", "a")
    plain = pc.utf8_lower(pc.utf8_trim(words, "!.…*#-"))
    listed = pc.is_in(plain, value_set=pa.array(_KEPT_WORDS, pa.large_string()))
    return matches(without, _KEPT_SHAPE) | listed.to_numpy(zero_copy_only=False)


def _weights(words: pa.Array) -> np.ndarray:
    """What each word counts as a value of a slot, float64 `(words,)`."""
    alternatives = "|".join(sorted(re.escape(word) for word in _KEPT_WORDS if len(word) > 3))
    compound = rf"(?i)(?:^|[._/-])(?:{alternatives})[._/-]|[._/-](?:{alternatives})$"
    is_state = matches(pc.replace_substring_regex(words, r"[.!…]+$", ""), _STATE_SHAPE) | matches(words, compound)
    return np.where(is_state, _STATE_WEIGHT, 1.0)


# ---------------------------------------------------------------------- learning

# Rows sorted in the search for two words that vary together, per round; neighbouring words are tried first.
_PAIR_ROWS = 1_000_000
_MAX_ROUNDS = 4


def learn_templates(texts: Sequence[str], least: int = 8) -> "Templates":
    """Learns the templates of a log from its distinct masked texts.

    A word is a slot where, all other words equal, it took at least `least` values, or two words together did, each at
    least as many. From there it spreads: to texts that hold one of these values behind the same beginning; to the
    names at the head of an entry, such as `user@database`, that stand in for each other before several messages; to
    words that repeat a slot's value. Repeated on what came of it, until nothing more does. Something must be left of
    the message: another word, or two where two vary.

    Never a slot: a word that matters (`_kept`), a key before `=` or `":`, and all behind the first `MAX_WORDS` words.

    Args:
        texts: masked texts; their order and number of occurrences do not matter.
        least: values that make a slot. Words that look like a state, such as participles, count an eighth.

    Returns:
        Templates of which every text matches one. Where several fit, a text belongs to the one with the fewest slots,
        and a template to which no text belongs is left out: rarely, then, not the one that it was learned into.

    Raises:
        ValueError: `least` is not an integer of at least 2.
    """
    least = check_integer("least", least, 2)
    distinct = sorted(set(texts))
    if not distinct:
        return Templates([])
    table, words, gaps = _read(distinct)
    slot = _slot(words)
    if slot < 0:
        slot, words = len(words), pa.concat_arrays([words, pa.array([SLOT], pa.large_string())])
    learner = _Learner(table, words, gaps, slot, least)
    for _ in range(_MAX_ROUNDS):
        if not learner.round():
            break
    found = _joined(learner.table, words, gaps)
    order = pc.sort_indices(found).to_numpy()  # by bytes of UTF-8, which is the order of code points
    index = _Index(learner.table.take(order), slot)
    used = np.unique(index.find(table, learner.is_kept[table.words]))
    return Templates(found.take(pa.array(order[used])).to_pylist())


def _joined(table: _Words, words: pa.Array, gaps: pa.Array) -> pa.Array:
    """The texts again, large strings `(texts,)`."""
    codes = np.full((len(table.words), 2 * table.words.shape[1] + 1), -1, dtype=np.int64)
    codes[:, 1::2] = table.words
    codes[:, ::2] = np.where(table.gaps < 0, -1, table.gaps + len(words))
    there = codes >= 0
    parts = pa.concat_arrays([words, gaps]).take(pa.array(codes[there]))
    # The parts lie one after the other in memory, as the texts do: only where they begin differs.
    offsets, data = buffers(parts)
    starts = offsets[np.append(0, there.sum(axis=1).cumsum())].astype(np.int64)
    return pa.LargeStringArray.from_buffers(len(codes), pa.py_buffer(starts), pa.py_buffer(data))


def _hashes(codes: np.ndarray, salt: int) -> np.ndarray:
    """A random number for each code at each place, uint64 of the same shape, 0 where the code is -1.

    Sums of them (modulo 2**64) tell texts apart, whole or without some words (Zobrist, 1970); of 50,000 texts two that
    differ have the same sum with a probability of 1e-10.
    """
    place = np.arange(codes.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(salt)
    mixed = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed += (place + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return np.where(codes == -1, np.uint64(0), mixed)


class _Learner:
    """The distinct texts as they become templates, round by round."""

    def __init__(self, table: _Words, vocabulary: pa.Array, gaps: pa.Array, slot: int, least: int):
        self.table, self.slot, self.least = table, slot, least
        # Looked up by code; the last item is that of padding, -1.
        self.weight = np.append(_weights(vocabulary), 0.0)
        self.is_kept = np.append(_kept(vocabulary), True)
        self.is_kept[slot] = False
        name = matches(pc.replace_substring_regex(vocabulary, _PLACEHOLDER, ""), r"\pL")
        self.is_plain = np.append(name, False) & ~self.is_kept
        level = pc.is_in(pc.utf8_lower(vocabulary), value_set=pa.array(VOCABULARY, pa.large_string()))
        self.is_literal = np.append(name & ~level.to_numpy(zero_copy_only=False), False)
        self.is_key_gap = np.append(matches(gaps, _KEY_GAP), False)
        self.is_tag_gap = np.append(matches(gaps, r"^(?:\[|:\s)"), False)
        self.is_space = np.append(matches(gaps, r"\s"), False)

    def round(self) -> bool:
        """Looks for slots once; whether there were any."""
        words, gaps = self.table.words, self.table.gaps
        self.word_hash, gap_hash = _hashes(words, 0), _hashes(gaps, 1)
        self.total = self.word_hash.sum(axis=1) + gap_hash.sum(axis=1)
        # Of each text up to and with the word at a place, and all gaps before it.
        self.beginning = (self.word_hash + gap_hash[:, :-1]).cumsum(axis=1)
        self.is_open = ~self.is_kept[words] & ~self.is_key_gap[gaps[:, 1:]]
        # Of a message of one word, or of two that vary, nothing would be left.
        literals = self.is_literal[words]
        self.left = literals.sum(axis=1)[:, None] - literals
        found = np.zeros(words.shape, dtype=bool)
        self._single(found)
        self._heads(found)
        if not found.any():
            self._pairs(found)
        if not found.any():
            return False
        self._repeated(found)
        words = np.where(found, self.slot, words)
        _, kept = np.unique(_hashes(words, 0).sum(axis=1) + gap_hash.sum(axis=1), return_index=True)
        self.table = _Words(words, gaps).take(np.sort(kept))
        return True

    def _mark(self, found: np.ndarray, place: int, rows: np.ndarray, hit: np.ndarray) -> None:
        """Makes a place a slot in those of the rows that were hit, and in others that begin alike.

        Those with the same value there; where it leads to many values and to little else, all.
        """
        value = self.table.words[rows, place]
        before = self.beginning[rows, place] - self.word_hash[rows, place]
        node, first, node_of_row = np.unique(self.beginning[rows, place], return_index=True, return_inverse=True)
        same = np.zeros(len(node), dtype=bool)
        same[node_of_row[hit]] = True
        group = np.unique(before[first], return_inverse=True)[1]
        hits, others = (np.bincount(group, (same == x) * self.weight[value[first]]) for x in (True, False))
        clear = (hits >= 2 * self.least) & (hits >= 4 * others)
        found[rows, place] |= (same | clear[group])[node_of_row] & (value != self.slot)

    def _single(self, found: np.ndarray) -> None:
        """One word varies."""
        for place in range(found.shape[1]):
            rows = np.flatnonzero(self.is_open[:, place] & (self.left[:, place] >= 1))
            key = self.total[rows] - self.word_hash[rows, place]
            again, group = _groups(key, 2)
            if not len(again):
                continue
            value = self.table.words[rows[again], place]
            # Where there is a slot already, all values fall into it.
            weight = np.where(value == self.slot, self.least, self.weight[value])
            hit = np.bincount(group, weight)[group] >= self.least
            if (hit & (value != self.slot)).any():
                self._mark(found, place, rows, again[hit])

    def _pairs(self, found: np.ndarray) -> None:
        """Two words vary together."""
        budget, places = _PAIR_ROWS, found.shape[1]
        both = self.is_open & (self.left >= 3)  # the other one and two more
        for distance in range(1, places):
            for place in range(places - distance):
                other = place + distance
                rows = np.flatnonzero(both[:, place] & self.is_open[:, other])
                budget -= len(rows)
                if budget < 0:
                    return
                key = self.total[rows] - self.word_hash[rows, place] - self.word_hash[rows, other]
                again, group = _groups(key, self.least)
                if not len(again):
                    continue
                rows = rows[again]
                hit = np.ones(len(rows), dtype=bool)
                for at in (place, other):
                    hit &= self._spread(group, self.table.words[rows, at])[group] >= self.least
                for at in (place, other):
                    found[rows[hit], at] |= self.table.words[rows[hit], at] != self.slot

    def _spread(self, group: np.ndarray, value: np.ndarray) -> np.ndarray:
        """What the distinct values of each group weigh together, float64 `(groups,)`."""
        size = len(self.weight)
        pairs = np.unique(group * size + value)
        return np.bincount(pairs // size, self.weight[pairs % size], minlength=group.max() + 1)

    def _heads(self, found: np.ndarray) -> None:
        """Names at the head of an entry, such as `user@database`, that stand in for each other.

        The first word between spaces that holds a name, but not a program's, as in `name[<NUM>]:`. Two belong together
        where what follows both is the same once; where as many as make a slot do, in a chain, all of them are values.
        """
        words = self.table.words
        plain = self.is_plain[words] & self.is_open
        rows = np.flatnonzero(plain.any(axis=1))
        rows = rows[~self.is_tag_gap[self.table.gaps[rows, plain[rows].argmax(axis=1) + 1]]]
        if len(rows) < self.least:
            return
        number = self.is_space[self.table.gaps[rows, :-1]].cumsum(axis=1)
        first = plain[rows].argmax(axis=1)
        span = (number == number[np.arange(len(rows)), first][:, None]) & (words[rows] != -1)
        rest = (self.is_literal[words[rows]] & ~span).any(axis=1)
        rows, span = rows[rest], span[rest]
        if len(rows) < self.least:
            return
        key = self.total[rows] - np.where(span, self.word_hash[rows], np.uint64(0)).sum(axis=1)
        last = span.shape[1] - 1 - span[:, ::-1].argmax(axis=1)
        name = np.unique(self.beginning[rows, last], return_inverse=True)[1]
        part = _parts(name, np.unique(key, return_inverse=True)[1])
        size = np.bincount(part[np.unique(name, return_index=True)[1]])
        many = size[part] >= self.least
        if not many.any():
            return
        rows, span, part = rows[many], span[many], part[many]
        weight = np.zeros(span.shape)
        for place in np.flatnonzero(span.any(axis=0)):
            at = np.flatnonzero(span[:, place] & self.is_open[rows, place])
            if len(at):
                group, value = part[at], words[rows[at], place]
                values = np.unique(group * len(self.weight) + value) // len(self.weight)
                # Names may be few in each place (three databases) as long as they are many together.
                varies = (np.bincount(values, minlength=group.max() + 1) > 1)[group]
                weight[at, place] = np.where(varies, self._spread(group, value)[group], 0)
                # Mostly states: no names.
                share = weight[at, place] / np.bincount(values, minlength=group.max() + 1)[group]
                weight[at, place] *= share > 0.5
        is_slot = (weight > 0) & (words[rows] != self.slot)
        found[rows] |= is_slot

    def _repeated(self, found: np.ndarray) -> None:
        """Words that repeat the value of a new slot of their text: `app@shop: … user=app`."""
        rows = np.flatnonzero(found.any(axis=1))
        words, slots = self.table.words[rows], found[rows]
        may = self.is_open[rows] & self.is_plain[words] & (self.weight[words] == 1) & ~slots
        # As `beginning`, whatever stands at the slots: a word that follows other values too repeats none of them.
        beginning = self.beginning[rows] - np.where(slots, self.word_hash[rows], np.uint64(0)).cumsum(axis=1)
        for place in np.flatnonzero(slots.any(axis=0)):
            at = np.flatnonzero(slots[:, place] & self.is_plain[words[:, place]])
            same = words[at] == words[at, place][:, None]
            for other in np.flatnonzero((same & may[at]).any(axis=0)):
                node = beginning[at, other]
                repeats = same[:, other] & may[at, other] & ~np.isin(node, node[~same[:, other]])
                found[rows[at[repeats]], other] = True


def _groups(key: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Which items, int64 `(found,)`, have a key that at least so many have, and a number for each such key."""
    ordered = np.sort(key)
    often = np.unique(ordered[least - 1 :][ordered[least - 1 :] == ordered[: max(len(ordered) - least + 1, 0)]])
    if not len(often):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    at = np.minimum(np.searchsorted(often, key), len(often) - 1)
    again = np.flatnonzero(often[at] == key)
    return again, at[again]


def _parts(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Connected parts of a graph: items that share a left or a right number, in a chain, have the same part."""
    part = np.arange(len(left))
    while True:
        before = part
        for side in (left, right):
            lowest = np.full(side.max() + 1, len(part))
            np.minimum.at(lowest, side, part)
            part = lowest[side]
        part = part[part]  # jumps, so that long chains take few steps
        if (part == before).all():
            return np.unique(part, return_inverse=True)[1]


# ---------------------------------------------------------------------- matching


def _any_base(text: str) -> str:
    return text.replace(NUMBERS[1], NUMBERS[0])


@dataclass(frozen=True)
class Templates:
    """Templates of a log, and which of them a text belongs to.

    Attributes:
        texts: sorted, distinct, with `SLOT` in place of words that vary.
    """

    texts: list[str]

    def match(self, texts: Sequence[str]) -> np.ndarray:
        """The template of each masked text.

        A template fits a text with the same gaps between as many words, if all words but those at slots are equal and
        no word at a slot is one that matters. Of several the one with the fewest slots is taken, then the first. Where
        none fits, a decimal number is one with a hexadecimal one: one random identifier in 280 of twelve hexadecimal
        digits has no letter.

        Returns:
            int64 `(texts,)`, rows of `self.texts`, -1 where none fits.
        """
        found = self._find(texts)
        missing = np.flatnonzero(found < 0)
        in_either = [place for place in missing.tolist() if any(number in texts[place] for number in NUMBERS)]
        if in_either and self._alike is not None:
            templates, rows = self._alike
            place = templates._find([_any_base(texts[place]) for place in in_either])
            found[in_either] = np.where(place < 0, -1, rows[place])
        return found

    @functools.cached_property
    def _alike(self) -> "tuple[Templates, np.ndarray] | None":
        """The templates with one placeholder for numbers, and the rows of these; None if they need no other."""
        if not any(NUMBERS[1] in template for template in self.texts):
            return None
        rows = {_any_base(template): row for row, template in reversed(list(enumerate(self.texts)))}
        texts = sorted(rows)
        return Templates(texts), np.array([rows[text] for text in texts])

    def _find(self, texts: Sequence[str]) -> np.ndarray:
        if not self.texts or not len(texts):
            return np.full(len(texts), -1, dtype=np.int64)
        index, known_words, known_gaps = self._index
        counts, words, gaps = _split(texts)
        distinct = pc.dictionary_encode(words)
        # A text of more words than any template fits none: it is read as one of nothing at all.
        fits = counts <= index.places
        row = dictionary_indices(distinct)[np.repeat(fits, counts)]
        gap_row = _look_up(gaps, known_gaps)[np.repeat(fits, counts + 1)]
        counts = np.where(fits, counts, -1)
        table = _Words(
            _table(counts, _look_up(distinct.dictionary, known_words)[row], index.places),
            _table(counts + 1, gap_row, index.places + 1),
        )
        is_kept = np.zeros(table.words.shape, dtype=bool)
        is_kept[table.words != -1] = _kept(distinct.dictionary)[row]
        return index.find(table, is_kept)

    @functools.cached_property
    def _index(self) -> tuple["_Index", pa.Array, pa.Array]:
        """The templates to look up texts among, and their words and gaps."""
        table, words, gaps = _read(self.texts)
        return _Index(table, _slot(words)), words, gaps


class _Index:
    """Templates by where their slots are: a text is looked up once for each such pattern, whatever their number.

    Args:
        table: the templates, sorted.
        slot: the code of `SLOT`, or -1.
    """

    def __init__(self, table: _Words, slot: int):
        words, self.places = table.words, table.words.shape[1]
        self.slot = slot
        is_slot = (words == slot) & (words != -1)
        self.order = np.argsort(is_slot.sum(axis=1), kind="stable")
        rank = np.empty(len(words), dtype=np.int64)
        rank[self.order] = np.arange(len(words))
        hashes = np.where(is_slot, np.uint64(0), _hashes(words, 0))
        total = hashes.sum(axis=1) + _hashes(table.gaps, 1).sum(axis=1)
        patterns, pattern_of_row = np.unique(np.packbits(is_slot, axis=1), axis=0, return_inverse=True)
        by_pattern = np.lexsort((total, pattern_of_row.ravel()))
        ends = np.bincount(pattern_of_row.ravel()).cumsum()
        self.patterns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for mask, rows in zip(
            np.unpackbits(patterns, axis=1, count=self.places).astype(bool),
            np.split(by_pattern, ends[:-1]),
            strict=True,
        ):
            self.patterns.append((np.flatnonzero(mask), total[rows], rank[rows]))

    def find(self, table: _Words, is_kept: np.ndarray) -> np.ndarray:
        """The template of each text, int64 `(texts,)`, -1 where none fits.

        Args:
            table: the texts, by the vocabulary of the templates; of no more places than those.
            is_kept: bool `(texts, places)`, words that stand for no slot.
        """
        best = np.full(len(table.words), -1, dtype=np.int64)
        known = np.flatnonzero((table.gaps != -2).all(axis=1) & (table.gaps[:, 0] != -1))
        words = table.words[known]
        hashes = _hashes(words, 0)
        total = hashes.sum(axis=1) + _hashes(table.gaps[known], 1).sum(axis=1)
        is_kept = is_kept[known] & (words != self.slot)
        rank = np.full(len(known), len(self.order), dtype=np.int64)
        for places, keys, ranks in self.patterns:
            rest = total - hashes[:, places].sum(axis=1) if len(places) else total
            at = np.minimum(np.searchsorted(keys, rest), len(keys) - 1)
            hit = (keys[at] == rest) & (ranks[at] < rank) & ~is_kept[:, places].any(axis=1)
            rank[hit] = ranks[at[hit]]
        fits = rank < len(self.order)
        best[known[fits]] = self.order[rank[fits]]
        return best


def readable(template: str) -> str:
    """What the encoder reads of a template: a word in place of each slot."""
    return template.replace(SLOT, "name")


__all__ = ["SLOT", "Templates", "learn_templates", "readable"]
