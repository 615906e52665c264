"""Why a sequence stands out, in words: which kind of evidence its entries brought, and a sentence for each.

A feature is not a reason: an entry that was never seen is also rare, follows nothing, and takes the place of what
usually stands there. So each feature's evidence is divided among kinds of reasons by what the entries behind it are;
what a kind weighs is measured by neutralising its part. Called where evidence is weighed.
"""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from .habits_logmoe import HORIZONS, NEIGHBOURS, Habits, departure, is_among, is_regular, rate_weights, tail_evidence
from .measuring_logmoe import Measured
from .reference_logmoe import LogReference
from .surprise_logmoe import GRANULARITIES, INPUTS, NUM_POOLED, POOLED, POOLS, SEQUENCE_FEATURES, pool_weights
from .templates_logmoe import readable
from .wording_logmoe import alarms, inner_line, number_in_words, seconds_in_words, shown, times_in_words

KINDS = (
    "new_entry",
    "rare_entry",
    "unusual_order",
    "unusual_count",
    "missing_entry",
    "unusual_pace",
    "known_anomaly",
)
NEW, RARE, ORDER, COUNT, MISSING, PACE, KNOWN = range(len(KINDS))

# What is known of other services says least about this one: it comes first only if it clearly weighs more.
KNOWN_WEIGHT = 0.5

_COLUMN = {name: column for column, name in enumerate(INPUTS)}
_RANKS = np.array([name.startswith("rank_") for name in INPUTS])
# An entry is rare up to this many occurrences, and up to this share of all.
RARE_COUNT, RARE_SHARE = 3, 1 / 1000
# Evidence from which on a fact speaks: one healthy sequence in ten, and one in thirty, shows as much.
TELLING, CLEAR = 1.0, 1.5
# Fewer of an entry are no unusual count: that it is there at all is what is unusual.
FEWEST_OF_COUNT = 4
# Counts and silences that at most this share of healthy ones reaches are not usual.
UNUSUAL_SHARE = 0.01
# Reasons that weigh less than this share of the strongest are left out.
SMALLEST_REASON = 0.05
# What makes less of a score, on the scale of healthy sequences, is no reason, whatever the others make.
LEAST_REASON = 1e-3
# Texts in which a word is looked for.
COMPARED_TEXTS = 4096
_WORD = re.compile(r"[^\s=:,;\"'`()\[\]{}<>|]+")


def kind_of(feature: str) -> str:
    """The kind of reason that a feature of `INPUTS` belongs to if nothing about its entries says otherwise."""
    # Without the "template_", whose end is the beginning of "late_count".
    name = feature.replace("template_", "_")
    for marks, kind in (
        (("missing", "overdue", "late_time", "late_count", "_low"), MISSING),
        (("gap", "slow", "fast"), PACE),
        (("distance", "_new_"), NEW),
        (("_rarity",), RARE),
        (("transition", "unseen_pairs"), ORDER),
    ):
        if any(mark in name for mark in marks):
            return KINDS[kind]
    return KINDS[COUNT]


_USUAL_PARTS = np.array([[float(kind_of(name) == kind) for name in SEQUENCE_FEATURES] for kind in KINDS])


def ranked(kind: str, weight: float) -> float:
    """The weight by which reasons are put in order."""
    return weight * (KNOWN_WEIGHT if kind == KINDS[KNOWN] else 1.0)


class Scene:
    """One sequence beside the healthy entries that it was measured against.

    Args:
        measured, row: the sequence.
        reference: that it was measured against.
        is_self: the reference is of the log itself.
    """

    def __init__(self, measured: Measured, row: int, reference: LogReference, is_self: bool = False):
        assert measured.around is not None
        self.around, self.row, self.reference = measured.around, row, reference
        self.inputs = measured.inputs[row]
        positions = self.around.positions[row]
        self.positions = positions[positions >= 0]
        self.size = len(self.positions)
        self.block = int(self.around.block[row])
        self.surprise = self.around.surprise(self.block)
        self.values = np.nan_to_num(measured.entry_features[row, : self.size].astype(np.float64))
        self.has_past = reference.origin.session_pattern is None
        self.where = "elsewhere in this log" if is_self else "in the healthy log"
        self.of_healthy = "other entries of this log" if is_self else "healthy entries"

        entries, texts = self.around.entries, self.surprise.habits["text"]
        near = measured.near[row, : self.size]
        text = entries.text[self.positions]
        is_known = texts.is_known[np.minimum(text, texts.size - 1)]
        near_text = text.copy()
        near_text[~is_known] = [self.usual_text(template) for template in near[~is_known].tolist()]
        self.ids = {"text": text, "template": entries.template[self.positions]}
        self.near = {"text": near_text, "template": near}

    # ------------------------------------------------------------------ facts

    def habits(self, granularity: str) -> Habits:
        """What is usual at a granularity."""
        return self.surprise.habits[granularity]

    def value(self, name: str) -> np.ndarray:
        """A feature of the entries, `(entries,)`."""
        return self.values[:, POOLED.index(name)]

    def rank(self, name: str) -> float:
        """The rank evidence of a feature of sequences; 0 where it is not known."""
        return float(np.nan_to_num(self.inputs[_COLUMN[f"rank_{name}"]]))

    def rank_of(self, name: str) -> float:
        """The highest rank evidence of a feature of entries."""
        return max(self.rank(f"{name}_{pool}") for pool in POOLS)

    def usual_text(self, template: int) -> int:
        """The commonest text of a template that the healthy entries know."""
        texts = np.flatnonzero(self.reference.template_of == template)
        return int(texts[np.argmax(self.habits("text").count[texts])])

    @cached_property
    def is_new(self) -> np.ndarray:
        """Entries that were never seen; a new text of a known template only where that is unusual."""
        is_new = self.value("template_new") > 0
        if self.rank_of("text_new") >= TELLING:
            is_new = is_new | (self.value("text_new") > 0)
        return is_new

    @cached_property
    def is_much(self) -> np.ndarray:
        """Entries of which there are more than healthy sequences hold."""
        much = np.zeros(self.size, bool)
        for name in GRANULARITIES:
            _, inverse, counts = np.unique(self.near[name], return_inverse=True, return_counts=True)
            much |= (counts[inverse] >= FEWEST_OF_COUNT) & (self.value(f"{name}_count") >= CLEAR)
        return much

    def healthy_count(self, granularity: str) -> np.ndarray:
        """How often each entry was seen, `(entries,)`."""
        habits = self.habits(granularity)
        return habits.count[np.minimum(self.ids[granularity], habits.size - 1)]

    @cached_property
    def is_rare(self) -> np.ndarray:
        """Entries that were seen, but hardly ever; a rare text of a common template only where that is unusual."""
        rare = self._is_few("template")
        if self.rank_of("text_rarity") >= TELLING:
            rare = rare | self._is_few("text")
        return rare

    def _is_few(self, granularity: str) -> np.ndarray:
        if self.reference.is_run:  # most of which comes once
            return np.zeros(self.size, bool)
        count = self.healthy_count(granularity)
        most = max(RARE_COUNT, self.habits(granularity).total * RARE_SHARE)
        return (count > 0) & (count <= most)

    @cached_property
    def cause(self) -> np.ndarray:
        """What each entry is, `(entries,)`: new, too many, rare, or, as for what order tells, none of these."""
        return np.select([self.is_new, self.is_much, self.is_rare], [NEW, COUNT, RARE], ORDER)

    def unseen(self, granularity: str, distance: int) -> np.ndarray:
        """Whether each entry from `distance` on never came up to that soon after the one before it."""
        habits, near = self.habits(granularity), self.near[granularity]
        pair = near[:-distance] * habits.size + near[distance:]
        return ~is_among(habits.near_pairs, pair)

    # ------------------------------------------------------------------ kinds

    def _of_pairs(self, granularity: str) -> tuple[np.ndarray, np.ndarray]:
        """What makes each entry's transition, and its unseen pairs: `(entries, kinds)`, rows that sum to 1.

        A pair of which one entry is new, too many or rare tells of that, not of order.
        """
        cause = self.cause
        transition, unseen = np.zeros((2, self.size, len(KINDS)))
        transition[np.arange(self.size), cause] = 1e-9
        unseen[np.arange(self.size), cause] = 1e-9
        rows = np.arange(self.size)
        for distance in range(1, min(NEIGHBOURS + 1, self.size)):
            of_pair = np.where(cause[distance:] != ORDER, cause[distance:], cause[:-distance])
            if distance == 1:
                transition[rows[1:], of_pair] += 1
            unseen[rows[distance:], of_pair] += self.unseen(granularity, distance)
        return transition / transition.sum(1, keepdims=True), unseen / unseen.sum(1, keepdims=True)

    def _of_entries(self) -> list[np.ndarray]:
        """What makes each feature of each entry: for each of `POOLED`, `(entries, kinds)`, rows that sum to 1."""
        one_of = np.eye(len(KINDS))
        parts = {"distance": one_of[np.full(self.size, NEW)], "gap": self._of_time() + np.zeros((self.size, 1))}
        of_rarity = one_of[np.where(self.cause == ORDER, RARE, self.cause)]
        for name in GRANULARITIES:
            transition, unseen = self._of_pairs(name)
            parts |= {
                f"{name}_new": one_of[np.full(self.size, NEW)],
                f"{name}_rarity": of_rarity,
                f"{name}_nearest_rarity": of_rarity,
                f"{name}_transition": transition,
                f"{name}_unseen_pairs": unseen,
                f"{name}_count": self._of_presence,
            }
        return [parts[name] for name in POOLED]

    def _of_time(self) -> np.ndarray:
        """What makes time pass: `(kinds,)`. Where entries are missing by their number, that is why."""
        missing = max(self.rank("overdue_count"), self.rank("late_count")) ** 2
        pace = max(self.rank("slow"), self.rank("gap_max")) ** 2
        part = missing / max(missing + pace, 1e-9)
        return part * _only(MISSING) + (1 - part) * _only(PACE)

    @cached_property
    def surplus(self) -> np.ndarray:
        """Share of the sequence's entries that are more than there should be, by what they are: `(kinds,)`."""
        shares = np.zeros(len(KINDS))
        habits, near = self.habits("template"), self.near["template"]
        entry, first, count = np.unique(near, return_index=True, return_counts=True)
        usual = (habits.tail[habits.row_of[entry], 1:] > UNUSUAL_SHARE * habits.num_windows).sum(1)
        for kind in (NEW, RARE):
            shares[kind] = (self.cause == kind).sum()
        shares[COUNT] = np.maximum(0, count - usual)[self.cause[first] == COUNT].sum()
        return shares / self.size

    @cached_property
    def absences(self) -> list[tuple[int, int, int, float, bool]]:
        """How long each timed entry stayed away into the sequence: its place among those, the position where it came
        or the sequence ends, the position and time of when it was last seen, and whether this log has held it."""
        if not self.has_past:
            return []
        entries, start, end = self.around.entries, int(self.positions[0]), int(self.positions[-1]) + 1
        last = self.surprise.last_seen(entries, 0, self.around.last.get(self.block))
        assert self.around.log.number is not None
        # Where the log began, counted in the entries that are known.
        log_start = int(self.positions[0]) - int(self.around.log.number[self.around.in_log[self.row, 0]])
        found = []
        for row, entry in enumerate(self.surprise.timed):
            seen = self.around.positions_of(entry)
            earlier = int(np.searchsorted(seen, start)) - 1
            here = min(int(seen[earlier + 1]), end - 1) if earlier + 1 < len(seen) else end - 1
            then, when = (seen[earlier], entries.time[seen[earlier]]) if earlier >= 0 else last[:, row]
            found.append((row, here, int(then), float(when), earlier >= 0 or int(then) > log_start))
        return found

    @cached_property
    def lack(self) -> float:
        """Share of healthy entries that those make up which stayed away for too long, whatever crowds the sequence."""
        habits, share = self.habits("template"), 0.0
        crowd = self.size * float(self.surplus.sum())
        for row, here, then, _, was_there in self.absences:
            counts = self.surprise.return_counts[row]
            if was_there and tail_evidence(counts, here - then - crowd) >= CLEAR:
                share += habits.count[self.surprise.timed[row]] / habits.total
        return float(share)

    @cached_property
    def _of_absence(self) -> np.ndarray:
        """What makes usual entries stay away: `(kinds,)`. Where others crowd the sequence, these do."""
        crowd, total = self.surplus.copy(), float(self.surplus.sum())
        crowded = total / (total + self.lack) if self.lack else min(1.0, 2 * total)
        crowd *= crowded / max(total, 1e-9)
        crowd[MISSING] = 1 - crowd.sum()
        return crowd

    @cached_property
    def _of_presence(self) -> np.ndarray:
        """What makes each entry be there more often than usual: `(entries, kinds)`.

        Where usual entries are missing, the others fill their place.
        """
        filled = self.lack / max(self.lack + float(self.surplus.sum()), 1e-9)
        kinds = np.eye(len(KINDS))[np.where(self.cause == ORDER, COUNT, self.cause)]
        kinds[:, MISSING] = filled * kinds[:, COUNT]
        kinds[:, COUNT] *= 1 - filled
        return kinds

    def _of_mix(self, granularity: str) -> np.ndarray:
        """What tells the sequence's counts from those of the most similar healthy window: `(kinds,)`, not scaled."""
        habits = self.habits(granularity)
        entry, first, count = np.unique(self.near[granularity], return_index=True, return_counts=True)
        root = np.sqrt(count)
        common = habits.compared.common(entry, root.astype(np.float32), np.zeros(1, int))[0]
        others, others_root = habits.compared.window(int(np.argmin(habits.compared.sizes - 2 * common)))
        there = np.zeros(habits.size, np.float32)
        there[others] = others_root
        more = root - there[entry]
        kinds = np.maximum(more, 0) ** 2 @ self._of_presence[first]
        lacking = np.setdiff1d(others, entry)
        absent = float((there[lacking] ** 2).sum() + (more[more < 0] ** 2).sum())
        return kinds + absent * self._of_absence

    def rates(self, granularity: str, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the sequence's distinct entries over the trailing `horizon` entries.

        Returns:
            For each a row of the sequence; how often it came; how often it does in healthy logs.
        """
        habits, end = self.habits(granularity), int(self.positions[-1]) + 1
        window = self.around.entries.ids(granularity)[max(0, end - horizon) : end]
        entry, first = np.unique(self.ids[granularity], return_index=True)
        seen = (window[:, None] == entry).sum(0)
        rate = (habits.count[np.minimum(entry, habits.size - 1)] + 0.25) / (habits.total + 1)
        return first, seen, len(window) * rate

    @cached_property
    def weights(self) -> np.ndarray:
        """How features are divided among the entries, `(len(SEQUENCE_FEATURES), entries)`: rows that sum to 1, or, of
        what belongs to no entry, to 0."""
        weights = np.zeros((len(SEQUENCE_FEATURES), self.size))
        weights[:NUM_POOLED] = pool_weights(self.values)
        for row, of_entries in self.rate_weights.items():
            weights[row] = of_entries
        return weights

    @cached_property
    def rate_weights(self) -> dict[int, np.ndarray]:
        """How features of rates are divided among the entries, by their row: `(entries,)`, which sums to 1."""
        weights = {}
        for name in GRANULARITIES:
            inverse = np.unique(self.ids[name], return_inverse=True)[1]
            for horizon in HORIZONS if self.has_past else ():
                _, seen, expected = self.rates(name, horizon)
                for pool, of_entries in rate_weights(departure(seen, expected), inverse).items():
                    weights[_COLUMN[f"{name}_rate{horizon}_{pool}"]] = of_entries
        return weights

    def parts(self, of_entries: bool = True) -> np.ndarray:
        """Which part of each input each kind of reason brings: `(kinds, len(INPUTS))`, columns that sum to 1.

        Without `of_entries`, which takes longer, not of those that are pooled over entries.
        """
        columns: dict[str, np.ndarray] = {}
        if of_entries:
            brought, pooled = self._of_entries(), enumerate(SEQUENCE_FEATURES[:NUM_POOLED])
            columns = {name: self.weights[row] @ brought[row % len(POOLED)] for row, name in pooled}
        for name in GRANULARITIES:
            columns[f"{name}_missing"] = self._of_absence
            columns[f"{name}_nearest_window"] = self._of_mix(name)
            columns[f"{name}_distinct"] = _only(COUNT)
            columns |= {f"{name}_rate{horizon}_low": self._of_absence for horizon in HORIZONS}
        columns |= {INPUTS[row]: weights @ self._of_presence for row, weights in self.rate_weights.items()}
        columns["slow"] = columns["overdue_time"] = columns["late_time"] = self._of_time()
        columns["overdue_count"] = columns["late_count"] = self._of_absence
        parts = _USUAL_PARTS.copy()
        for name, column in columns.items():
            if (total := column.sum()) > 0:
                parts[:, _COLUMN[name]] = column / total
        return np.tile(parts, len(INPUTS) // len(SEQUENCE_FEATURES))

    def is_telling(self, kind: str, parts: np.ndarray) -> bool:
        """Whether the facts that a kind of reason would tell are unusual at all.

        Also what is within the usual departs from the median, and adds to the margin; nobody would call it a reason.

        Args:
            kind: one of `KINDS`.
            parts: see `parts`.
        """
        number = KINDS.index(kind)
        if number in (NEW, RARE):
            return bool((self.is_new if number == NEW else self.cause == RARE).any())
        if number == KNOWN:
            return True
        ranks = np.nan_to_num(self.inputs[_RANKS])
        return bool((ranks[parts[number, _RANKS] > 0.5] >= TELLING).any())

    # ------------------------------------------------------------------ words

    def reason(self, kind: str, entry_shares: np.ndarray) -> dict[str, Any]:
        """A reason of a kind: `kind`, `text`, and what the text says, for machines.

        Args:
            kind: one of `KINDS`.
            entry_shares: `(entries,)`, what each entry adds to the score.
        """
        tell: dict[str, Callable[[], dict[str, Any]]] = {
            "new_entry": self._tell_new,
            "rare_entry": self._tell_rare,
            "unusual_order": self._tell_order,
            "unusual_count": self._tell_count,
            "missing_entry": self._tell_missing,
            "unusual_pace": self._tell_pace,
        }
        told = tell[kind]() if kind in tell else self._tell_known(entry_shares)
        return {"kind": kind} | told

    def _position(self, place: int) -> int:
        return int(self.around.in_log[self.row, place])

    def _entry(self, place: int) -> dict[str, Any]:
        """The entry at a place of the sequence: its line and its text."""
        line = int(self.around.log.first_line[self._position(place)])
        return {"line": line, "entry": shown(self._text(place))}

    def _text(self, place: int) -> str:
        return str(self.around.log.text[self._position(place)].as_py())

    def _masked(self, place: int) -> str:
        return str(self.around.log.distinct[int(self.around.log.entry_index[self._position(place)])].as_py())

    def _strongest(self, is_meant: np.ndarray, *names: str) -> int:
        """Of the entries that are meant, or of all if none is, the first one with the highest features."""
        strength = sum(self.value(name) for name in names)
        return int(np.argmax(np.where(is_meant, strength, -np.inf) if is_meant.any() else strength))

    def _tell_new(self) -> dict[str, Any]:
        place = self._strongest(self._most_new(), "distance", "template_new", "text_new")
        here = self._entry(place)
        number = int(self.is_new.sum())
        told: dict[str, Any] = here | {"count": number}
        more = f" and {number - 1:,} more of the {self.size:,} entries" if number > 1 else ""
        if self.value("template_new")[place] > 0:
            told["closest"] = shown(self.reference.texts[int(self.near["text"][place])])
            inner = inner_line(self._text(place).strip())  # what failed may stand below its first line
            within = f" with `{shown(inner)}`" if inner else ""
            text = f"a new kind of entry (line {here['line']:,}{more}): `{here['entry']}`{within}"
            return told | {"text": f"{text}; closest {self.where}: `{told['closest']}`"}
        if self.value("text_new")[place] > 0:
            template = int(self.near["template"][place])
            told["closest"] = shown(readable(self.reference.templates.texts[template]))
            words = self._new_words(place, template)
            if words:
                told["words"] = words
                quoted = ", ".join(f"`{word}`" for word in words)
                text = f"a known kind of entry, never seen with {quoted} (line {here['line']:,}{more})"
            else:
                text = f"a known kind of entry, in words that never stood together (line {here['line']:,}{more})"
            return told | {"text": f"{text}: `{here['entry']}`"}
        # Nothing is new, but it is less like the rest than healthy entries are.
        text = f"an entry unlike those {self.where} (line {here['line']:,}): `{here['entry']}`"
        return here | {"text": text}

    def _most_new(self) -> np.ndarray:
        """Of the new entries those of a new kind, and of these those that say that something failed; `(entries,)`."""
        chosen = self.is_new
        failed = [bool(new) and alarms(self._masked(place)) for place, new in enumerate(self.is_new)]
        for is_better in (self.value("template_new") > 0, np.array(failed)):
            chosen = chosen & is_better if (chosen & is_better).any() else chosen
        return chosen

    def _new_words(self, place: int, template: int) -> list[str]:
        """Words of an entry that no healthy text of its template holds; at most three."""
        is_known = self.surprise.habits["text"].is_known[:-1]  # the last row stands for what it lacks
        known = np.flatnonzero((self.reference.template_of == template) & is_known)
        texts = "\n".join(self.reference.texts[row] for row in known[:COMPARED_TEXTS].tolist())
        words = dict.fromkeys(_WORD.findall(self._masked(place)))
        return [shown(word) for word in words if word not in texts][:3]

    def _tell_rare(self) -> dict[str, Any]:
        place = self._strongest(self.cause == RARE, "template_rarity", "text_rarity")
        granularity = "template" if self._is_few("template")[place] else "text"
        count, total = int(self.healthy_count(granularity)[place]), self.habits(granularity).total
        here = self._entry(place)
        seen = f"seen {times_in_words(count)} in {total:,} {self.of_healthy}" if count else f"never seen {self.where}"
        text = f"a rare entry (line {here['line']:,}), {seen}: `{here['entry']}`"
        return here | {"count": count, "total": total, "text": text}

    def _tell_order(self) -> dict[str, Any]:
        if self.size == 1:
            return {"text": f"an entry all by itself, as those {self.where} are not"} | self._entry(0)
        granularity = max(GRANULARITIES[::-1], key=lambda name: self.rank_of(f"{name}_unseen_pairs"))
        near, is_order = self.near[granularity], self.cause == ORDER
        names = f"{granularity}_unseen_pairs", f"{granularity}_transition"
        place = max(1, self._strongest(is_order & (self.value(names[0]) > 0), *names))
        habits = self.habits(granularity)
        for distance in range(1, min(NEIGHBOURS, place) + 1):
            if self.unseen(granularity, distance)[place - distance] and near[place - distance] != near[place]:
                break
        else:
            distance = 0
        if distance:
            here, before = self._entry(place), self._entry(place - distance)
            never = f"never came after `{before['entry']}` (within {NEIGHBOURS} entries) {self.where}"
            told = here | {"after": before["entry"], "after_line": before["line"], "count": 0}
            return told | {"text": f"`{here['entry']}` (line {here['line']:,}) {never}"}
        place = max(1, self._strongest(np.arange(self.size) > 0, f"{granularity}_transition"))
        here, before = self._entry(place), self._entry(place - 1)
        key = near[place - 1] * habits.size + near[place]
        found = np.flatnonzero(habits.pairs == key)
        count = int(habits.pair_counts[found[0]]) if len(found) else 0
        often = f"in {count:,} of {int(habits.before[near[place - 1]]):,} cases" if count else "never"
        told = here | {"after": before["entry"], "after_line": before["line"], "count": count}
        text = f"`{here['entry']}` (line {here['line']:,}) right after `{before['entry']}`"
        return told | {"text": f"{text}: {often} {self.where}"}

    def _tell_count(self) -> dict[str, Any]:
        granularity = max(GRANULARITIES[::-1], key=lambda name: self.rank_of(f"{name}_count"))
        habits, near = self.habits(granularity), self.near[granularity]
        in_sequence = self.rank_of(f"{granularity}_count")
        # A known entry, if there is one: how many there are of a new one is usual for none.
        is_meant = self.cause == COUNT if (self.cause == COUNT).any() else ~self.is_new
        if self.has_past:
            rates = [(name, horizon) for name in GRANULARITIES for horizon in HORIZONS]
            name, horizon = max(rates, key=lambda rate: self.rank(f"{rate[0]}_rate{rate[1]}_max"))
            if self.rank(f"{name}_rate{horizon}_max") > in_sequence:
                first, seen, expected = self.rates(name, horizon)
                more = departure(seen, expected)
                best = int(np.argmax(np.where(is_meant[first], more, more - 1e6)))
                here = self._entry(int(first[best]))
                trailing = min(horizon, int(self.positions[-1]) + 1)
                told = here | {"count": int(seen[best]), "of": trailing, "usual": round(float(expected[best]), 1)}
                if told["count"] > told["usual"]:
                    as_usual = number_in_words(told["usual"]) if told["usual"] >= 1 else "less than once"
                    text = f"{times_in_words(told['count'])} in the last {trailing:,} entries, usually {as_usual}"
                    return told | {"text": f"{text}: `{here['entry']}`"}
        place = self._strongest(is_meant, f"{granularity}_count")
        count = int((near == near[place]).sum())
        tail = habits.tail[habits.row_of[near[place]]]
        usual = int(np.max(np.flatnonzero(tail > UNUSUAL_SHARE * habits.num_windows), initial=0))
        told = self._entry(place) | {"count": count, "of": self.size, "usual": usual}
        if count <= usual:
            return told | {"text": f"known entries, in a mix that is unusual {self.where}"}
        at_most = f"usually {times_in_words(usual)} at most" if usual else "usually not at all"
        return told | {"text": f"{times_in_words(count)} in {self.size:,} entries, {at_most}: `{told['entry']}`"}

    def _tell_missing(self) -> dict[str, Any]:
        if self.has_past and (overdue := self._most_overdue()) is not None:
            return overdue
        habits = self.habits("template")
        absent = habits.usual[~np.isin(habits.usual, self.near["template"])]
        if len(absent):
            share = habits.tail[habits.row_of[absent], 1] / max(1, habits.num_windows)
            entry, present = int(absent[np.argmax(share)]), float(share.max())
            text = shown(self.reference.texts[self.usual_text(entry)])
            often, plural = ("in every", "") if present > 0.99 else (f"in {round(100 * present)} of 100", "es")
            said = f"`{text}` is missing: it is usually {often} stretch{plural} of {self.size:,} entries"
            return {"entry": text, "usual": round(present, 2), "text": said}
        return {"text": f"fewer than usual of the entries that are frequent {self.where}"}

    def _most_overdue(self) -> dict[str, Any] | None:
        """The frequent entry that stayed away longest, against its healthy returns; a regular one if there is one."""
        surprise, entries = self.surprise, self.around.entries
        best: tuple[bool, bool, float, int, int, float, np.ndarray, bool] | None = None
        for row, here, then, when, was_there in self.absences:
            times, counts = surprise.return_times[row], surprise.return_counts[row]
            # Times first, which people know; where they are too coarse, or told nothing, numbers.
            for ordered, away in ((times, float(entries.time[here] - when)), (counts, float(here - then))):
                is_long = len(ordered) and away > ordered[-1] and np.median(ordered) > 0
                if is_long and tail_evidence(ordered, away) >= CLEAR:
                    regular, ratio = is_regular(ordered), away / float(ordered[-1])
                    if best is None or (regular, was_there, ratio) > best[:3]:
                        best = regular, was_there, ratio, here, row, away, ordered, ordered is times
        if best is None:
            return None
        regular, was_there, _, here, row, away, ordered, is_time = best
        text = shown(self.reference.texts[self.usual_text(surprise.timed[row])])
        name, usual = ("usual", float(np.median(ordered))) if regular else ("longest", float(ordered[-1]))
        if is_time:
            facts = {"seconds": away, f"{name}_seconds": usual}
            every, told = seconds_in_words(usual), seconds_in_words(away)
        else:
            facts = {"count": int(away), name: usual}
            every, told = f"{number_in_words(usual)} entries" if usual > 1 else "entry", f"{away:,.0f} entries"
        back = np.flatnonzero((self.positions == here) & (self.ids["template"] == surprise.timed[row]))  # where it is
        until = f"before line {self._entry(int(back[0]))['line']:,}" if len(back) else "now"
        so_far = f"not for {told} {until}" if was_there else f"not once in the {told} of this log so far"
        often = f"usually every {every}" if regular else f"at least every {every} {self.where}"
        return {"entry": text} | facts | {"text": f"`{text}` is missing: {often}, {so_far}"}

    def _tell_pace(self) -> dict[str, Any]:
        times, durations = self.around.entries.time[self.positions], self.surprise.durations
        gaps = self.surprise.gaps
        slow, fast, gap = self.rank("slow"), self.rank("fast"), self.rank("gap_max")
        took = float(max(0.0, times[-1] - times[0]))
        told: dict[str, Any] = {"seconds": took, "count": self.size}
        if gap > max(slow, fast) and len(gaps):
            place = self._strongest(np.arange(self.size) >= 0, "gap")
            position = int(self.positions[place])
            earlier = position - 1 if self.has_past else int(self.positions[max(0, place - 1)])
            if position and earlier >= 0:
                away = float(max(0.0, self.around.entries.time[position] - self.around.entries.time[earlier]))
                usual = float(np.quantile(gaps, 1 - UNUSUAL_SHARE))
                here = self._entry(place)
                longest = seconds_in_words(usual)
                longest = "too short to be told" if longest == "no time" else f"no longer than {longest}"
                limits = f"99 in 100 pauses {self.where} are {longest}"
                return here | {
                    "seconds": away,
                    "usual_seconds": usual,
                    "text": f"nothing for {seconds_in_words(away)} before line {here['line']:,}; {limits}",
                }
        if not len(durations):
            return told | {"text": "entries come faster or slower than usual"}
        usual = float(np.median(durations))
        how = "took" if took > usual else "within"
        words, usually = seconds_in_words(took), seconds_in_words(usual)
        text = f"{self.size:,} entries {how} {words}, usually {usually}"
        if words == usually:
            text = "entries come faster or slower than usual"
        return told | {"usual_seconds": usual, "text": text}

    def _tell_known(self, entry_shares: np.ndarray) -> dict[str, Any]:
        positive = np.maximum(entry_shares, 0)
        place = int(np.argmax(positive))
        here = self._entry(place)
        # One entry makes more than half of it: its words do. Else it is how they stand together.
        if positive[place] > positive.sum() / 2:
            text = f"worded like faults of other services (line {here['line']:,}): `{here['entry']}`"
        else:
            text = "in wording and order like faults of other services"
        return here | {"text": text}


def _only(kind: int) -> np.ndarray:
    return np.eye(len(KINDS))[kind]


__all__ = ["KINDS", "Scene", "kind_of"]
