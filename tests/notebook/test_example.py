"""The example notebook: valid, its code compiles, and it calls only what exists."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import nbformat

from orchestrator import notebook

FILE = Path(__file__).parents[2] / "examples" / "colab.ipynb"
CELLS = json.loads(FILE.read_text("utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def tree(code):
    return ast.parse("\n".join(line for line in code.splitlines() if not line.startswith(("%", "!"))))


def test_it_is_a_valid_notebook_without_outputs():
    nbformat.validate(nbformat.read(FILE, as_version=4))
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS if cell["cell_type"] == "code"
    )


def test_its_code_compiles_and_imports_what_exists():
    imported = [
        (node.module, alias.name)
        for code in CODE
        for node in ast.walk(tree(code))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    ours = {name for module, name in imported if module == "orchestrator.notebook"}
    assert {"mount_drive", "restore", "up", "down", "status"} <= ours <= set(notebook.__all__)
    assert {module for module, _ in imported} == {"orchestrator.notebook", "google.colab"}


def test_its_calls_fit_the_functions():
    calls = [
        node
        for code in CODE
        for node in ast.walk(tree(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert {call.func.id for call in calls} == {"mount_drive", "restore", "up", "status", "down"}
    for call in calls:
        given = {word.arg: None for word in call.keywords}
        inspect.signature(getattr(notebook, call.func.id)).bind(*call.args, **given)


def test_every_function_says_what_it_does():
    assert all(inspect.getdoc(getattr(notebook, name)) for name in notebook.__all__)
