"""Python's `re` takes exponential time on some patterns: none that a user or a checkpoint gives may reach it."""

import ast

import pytest
from conftest import ROOT

from logmoe.columns_logmoe import check_pattern
from logmoe.parsing_logmoe import _own_patterns

# Reads the sources that `make train-default` downloads, by patterns of its own.
OUR_TOOLS = {"training/statements.py"}
FUNCTIONS = {"compile", "match", "search", "fullmatch", "split", "findall", "finditer", "sub", "subn"}


def variables_in_patterns(source):
    """The lines where `re` gets a pattern that is not written there, nor made of constants of the module."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "re":
            found.append(node.lineno)
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.func.attr in FUNCTIONS:
            inner = [part for part in ast.walk(node.args[0]) if not isinstance(part, ast.expr_context)]
            names = [part for part in inner if isinstance(part, ast.Name | ast.Attribute | ast.Call | ast.Subscript)]
            if any(not (isinstance(part, ast.Name) and part.id.isupper()) for part in names):
                found.append(node.lineno)
    return found


def test_only_patterns_of_our_own_go_to_python():
    paths = [*ROOT.glob("*.py"), *ROOT.glob("training/*.py")]
    places = {str(path.relative_to(ROOT)): variables_in_patterns(path.read_text(encoding="utf-8")) for path in paths}
    assert {name: lines for name, lines in places.items() if lines and name not in OUR_TOOLS} == {}


def test_our_own_patterns_which_are_not_checked_as_they_are_loaded_are_re2():
    assert len(_own_patterns()) > 100
    for pattern, replacement in _own_patterns():
        check_pattern("one of our own", pattern, replacement)


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ('re.compile("a+")', False),
        ('re.sub(_WORD, "", text)', False),
        ('re.match(rf"{EVENTS}$|{PREFIX}", name)', False),
        ("re.compile(pattern)", True),
        ('re.search(f"(?:{pattern})", text)', True),
        ("re.compile(rule['pattern'])", True),
        ("re.findall(self.session_pattern, text)", True),
        ("from re import compile", True),
    ],
)
def test_the_test_before_can_fail(source, is_found):
    assert bool(variables_in_patterns(source)) == is_found
