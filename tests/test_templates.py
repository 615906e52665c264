"""Templates: which words become slots, which never do, and what belongs to which template."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmoe.templates_logmoe import MAX_WORDS, SLOT, Templates, learn_templates

NAMES = ["anna", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "karl", "lena"]


def lines(*formats, names=NAMES):
    return [text.replace("NAME", name) for text in formats for name in names]


@pytest.mark.parametrize(
    ("pattern", "new"),
    [
        ("user NAME logged in from <IP>", "zoe"),
        ("level=info user=NAME path=<PATH>", "zoe"),
        ('{"level":"info","user":"NAME","took":"<DURATION>"}', "zoe"),
        ("session of NAME@<IP>: opened", "zoe"),
        ("<TIME> status installed NAME:amd<NUM> <NUM>-<NUM>", "lib<NUM>c"),
        ("first line of NAME\n  at the second", "zoe"),
    ],
)
def test_a_name_becomes_a_slot_within_its_word(pattern, new):
    templates = learn_templates(lines(pattern))
    assert templates.texts == [pattern.replace("NAME", SLOT)]
    assert templates.match([pattern.replace("NAME", new), pattern + " again"]).tolist() == [0, -1]


def test_values_make_a_slot_from_the_least_number_on():
    assert len(learn_templates(lines("user NAME left", names=NAMES[:7])).texts) == 7
    assert learn_templates(lines("user NAME left", names=NAMES[:8])).texts == ["user <*> left"]
    assert learn_templates(lines("user NAME left", names=NAMES[:3]), least=3).texts == ["user <*> left"]
    with pytest.raises(ValueError, match="`least` must be an integer of at least 2, got 1"):
        learn_templates([], least=1)


@pytest.mark.parametrize(
    "pair",
    [
        ("succeeded", "failed"),
        ("up", "down"),
        ("enabled", "disabled"),
        ("started", "stopped"),
        ("INFO", "WARN"),
        ("<HTTP_SUCCESS> 200", "<HTTP_UNAVAILABLE> 503"),
        ("exit code 0", "exit code 1"),
        ("ECONNREFUSED", "ENOSPC"),
        ("half-installed", "installed"),
        ("yes", "no"),
        ("-", "editor"),
    ],
)
def test_outcomes_stay_apart_whatever_else_varies(pair):
    good, bad = pair
    templates = learn_templates(lines(f"login of NAME {good}", f"login of NAME {bad}"))
    assert templates.texts == sorted([f"login of <*> {good}", f"login of <*> {bad}"])


@pytest.mark.parametrize("word", ["failed", "Failed.", "FATAL", "42", "SIGKILL", "<HTTP_NOT_FOUND>", "E", "offline"])
def test_words_that_matter_never_stand_for_a_slot(word):
    """Neither when it is learned among many names, nor when it comes later."""
    names = lines("the job NAME ended")
    text = f"the job {word} ended"
    assert learn_templates([*names, text]).texts == sorted(["the job <*> ended", text])
    assert learn_templates(names).match([text]).tolist() == [-1]


def test_states_that_no_list_holds_are_no_names_but_a_name_may_look_like_one():
    states = ["fetching", "parsing", "indexing", "ranking", "rendering", "cached", "merged", "verified", "uploaded"]
    assert len(learn_templates(lines("page NAME", names=states)).texts) == 9
    assert learn_templates(lines("install NAME here", names=[*NAMES, "sed"])).texts == ["install <*> here"]


def test_keys_are_no_values():
    keys = lines("set NAME=<NUM>")
    assert learn_templates(keys).texts == sorted(keys)


def test_two_names_vary_together():
    texts = [f"copied {one} to {other} in <DURATION>" for one, other in zip(NAMES, reversed(NAMES), strict=True)]
    assert learn_templates(texts).texts == ["copied <*> to <*> in <DURATION>"]


def test_something_is_left_of_a_message():
    """Short messages are no list of names."""
    words = [f"<TIME> INFO {name}" for name in NAMES]
    assert learn_templates(words).texts == sorted(words)
    two = [f"<TIME> INFO {one} {other}" for one, other in zip(NAMES, reversed(NAMES), strict=True)]
    assert learn_templates(two).texts == sorted(two)


def test_names_at_the_head_stand_in_for_each_other():
    """Three databases and a few users: no message is seen with many of them, and some with one alone."""
    users = [f"{name}@{base}" for base in ("shop", "store", "bank") for name in ("app", "etl", "root", "web")]
    texts = [f"<TIME> [<NUM>] {user} LOG: message {'abcdefgh'[i % 4]}" for i, user in enumerate(users)]
    texts += [f"<TIME> [<NUM>] {user} LOG: message {'abcdefgh'[i // 3]}" for i, user in enumerate(users)]
    texts += ["<TIME> [<NUM>] etl@bank ERROR: seldom", "<TIME> [<NUM>] LOG: message a"]
    texts += ["<TIME> [<NUM>] web@shop LOG: authorized: user=web database=shop"]
    templates = learn_templates(texts)
    new = [
        "<TIME> [<NUM>] zoe@press ERROR: seldom",
        "<TIME> [<NUM>] zoe@press LOG: message d",
        "<TIME> [<NUM>] zoe@press LOG: authorized: user=zoe database=press",
        "<TIME> [<NUM>] zoe@press LOG: message z",
        "<TIME> [<NUM>] zoe LOG: message a",
    ]
    assert (templates.match(new) >= 0).tolist() == [True, True, True, False, False]
    assert "<TIME> [<NUM>] LOG: message a" in templates.texts


@pytest.mark.parametrize(("mark", "known"), [(" ", True), (": ", False), ("[<NUM>]: ", False)])
def test_hosts_at_the_head_are_names_and_programs_are_not(mark, known):
    texts = [f"<TIME> mail/{name}{mark}message {'abc'[i % 3]}" for i, name in enumerate(NAMES)]
    texts += [f"<TIME> mail/{name}{mark}message {'abc'[i // 4]}" for i, name in enumerate(NAMES)]
    assert (learn_templates(texts).match([f"<TIME> mail/zoe{mark}message a"]) >= 0).tolist() == [known]


def test_of_several_templates_the_one_with_fewest_slots_is_taken_then_the_first():
    templates = Templates(["<*> b", "a <*>", "a b", "<*> <*>"])
    assert templates.match(["a b", "a c", "c b", "c c", "a", ""]).tolist() == [2, 1, 0, 3, -1, -1]
    assert Templates(["<*> b", "a <*>"]).match(["a b"]).tolist() == [0]


def test_a_decimal_number_is_one_with_a_hexadecimal_one_where_nothing_else_fits():
    """The masks call an identifier of digits alone a number."""
    learned = Templates(
        sorted(["container <HEX> started", "exit <NUM> of <HEX>", "exit <NUM> of <NUM>", "port <NUM>"])
    )
    rows = {text: row for row, text in enumerate(learned.texts)}
    found = learned.match(
        ["container <NUM> started", "exit <HEX> of <NUM>", "exit <NUM> of <NUM>", "container <NUM> died"]
    )
    assert found[0] == rows["container <HEX> started"]
    assert found[1] in (rows["exit <NUM> of <HEX>"], rows["exit <NUM> of <NUM>"])
    assert found[2] == rows["exit <NUM> of <NUM>"]
    assert found[3] == -1
    assert Templates(["port <NUM>"]).match(["port <HEX>"]) == [-1]  # a log without hexadecimal numbers


def test_behind_the_first_words_everything_must_be_equal():
    tail = " ".join(f"word{'x' * (i % 5)}" for i in range(MAX_WORDS))
    templates = learn_templates(lines(f"NAME {tail} end"))
    assert templates.texts == [f"<*> {tail} end"]
    assert templates.match([f"zoe {tail} end", f"zoe {tail} and"]).tolist() == [0, -1]
    late = lines(f"{tail} NAME")
    assert learn_templates(late).texts == sorted(late)


def test_no_texts_and_texts_without_words():
    nothing = learn_templates([])
    assert nothing.texts == []
    assert nothing.match(["a"]).tolist() == [-1]
    odd = learn_templates(["", "()", " "])
    assert odd.match(["", " ", "()", "[]"]).tolist() == [0, 1, 2, -1]
    assert learn_templates(["a"]).match([]).shape == (0,)


WORDS = st.sampled_from([*NAMES, "failed", "INFO", "<NUM>", "<*>", "k=v", "a@b", '"x",', "200", "-"])
TEXTS = st.lists(st.lists(WORDS, min_size=0, max_size=4).map(" ".join), max_size=80)
FREE = st.lists(st.text(max_size=30), max_size=20)


@settings(max_examples=25, deadline=None)
@given(TEXTS | FREE, st.randoms(use_true_random=False))
def test_the_set_of_texts_alone_decides_and_each_belongs_to_a_template(texts, order):
    templates = learn_templates(texts, least=3)
    again = [*texts, *texts[: len(texts) // 2]]
    order.shuffle(again)
    assert learn_templates(again, least=3) == templates
    assert templates.texts == sorted(set(templates.texts))
    row = templates.match(texts)
    assert set(row.tolist()) == set(range(len(templates.texts)))  # none without a text
    for text, template in zip(texts, row, strict=True):
        assert templates.texts[template].count("failed") == text.count("failed")
        assert templates.texts[template].count("200") == text.count("200")


@settings(max_examples=15, deadline=None)
@given(TEXTS)
def test_templates_of_templates_are_the_same(texts):
    templates = learn_templates(texts, least=3)
    assert learn_templates(templates.texts, least=3) == templates


def test_a_large_log_takes_no_pairs_of_texts():
    """Equal but for one word, and all different: were texts compared with each other, this would take minutes."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnop", k=8)) for _ in range(20_000)]
    assert learn_templates([f"<TIME> user {word} left" for word in words]).texts == ["<TIME> user <*> left"]
    texts = [" ".join(words[i : i + 10]) for i in range(0, len(words), 2)]
    templates = learn_templates(texts)
    assert len(templates.texts) == len(set(texts))
    assert np.array_equal(np.array(templates.texts)[templates.match(texts)], np.array(texts))
