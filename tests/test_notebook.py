"""The notebooks in examples/ run from top to bottom, and print what they show.

`python tests/test_notebook.py` runs them and writes what they print into them.
"""

import ast
import contextlib
import io
import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(notebook):
    """What each code cell gives: what it prints, and the value of its last expression, as a kernel shows them."""
    names = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), 1):
        tree = ast.parse("".join(cell["source"]), f"cell {number}")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, f"cell {number}", "exec"), names)
            value = (
                None if last is None else eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
            )
        outputs = []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            outputs.append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            data = {"text/plain": repr(value).splitlines(keepends=True)}
            if hasattr(value, "_repr_html_"):
                data["text/html"] = value._repr_html_().splitlines(keepends=True)
            result = {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}
            outputs.append(result)
        yield number, outputs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_prints_what_it_shows(path, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell, (number, outputs) in zip(code_cells(notebook), run(notebook), strict=True):
        assert cell["execution_count"] == number
        assert cell["outputs"] == outputs, f"cell {number}"


def test_a_cell_that_fails_fails():
    cell = {"cell_type": "code", "source": ["1 / 0"]}
    with pytest.raises(ZeroDivisionError):
        list(run({"cells": [cell]}))


def test_there_are_notebooks():
    assert NOTEBOOKS


if __name__ == "__main__":
    with contextlib.chdir(EXAMPLES):
        for path in NOTEBOOKS:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            for cell, (number, outputs) in zip(code_cells(notebook), run(notebook), strict=True):
                cell |= {"execution_count": number, "outputs": outputs}
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
