"""docs/tutorial.ipynb runs from top to bottom, and shows what it says that it shows."""

import ast
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from basicsr.utils.registry import ARCH_REGISTRY
from matplotlib.figure import Figure

from moeisr_plugin.archs.registry import NETWORKS

ROOT = Path(__file__).parents[1]
CELLS = json.loads((ROOT / "docs/tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def run(source, namespace):
    """Run a cell, and return what it prints and its last value, as a notebook does."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "tutorial", "exec"), namespace)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "tutorial", "eval"), namespace)
    return printed.getvalue(), value


def is_shown(value):
    png = getattr(value, "_repr_png_", lambda: None)()
    return png is not None or isinstance(value, Figure)  # notebooks know how to show figures


@pytest.mark.slow
def test_the_tutorial_runs():
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    try:
        for number, cell in enumerate(CODE, 1):
            printed, value = run("".join(cell["source"]), namespace)
            kept = {key for each in cell["outputs"] for key in each.get("data", {})}
            assert is_shown(value) == ("image/png" in kept), number
            assert bool(printed) == any(each["output_type"] == "stream" for each in cell["outputs"]), number
            assert cell["execution_count"] == number
    finally:
        for table in (ARCH_REGISTRY._obj_map, NETWORKS):
            table.pop("TwoLayersOfTutorial", None)
    losses = namespace["losses"]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert namespace["enlarged"].shape == (320, 480, 3)


def test_the_tutorial_shows_all_that_it_promises():
    headings = [cell["source"][0].strip() for cell in CELLS if cell["cell_type"] == "markdown"]
    for part in ("Enlarge", "The expert map", "A budget", "A training curve", "Mix an encoder"):
        assert f"## {part}" in headings
    assert sum("image/png" in each.get("data", {}) for cell in CODE for each in cell["outputs"]) >= 7
    assert (ROOT / "docs/tutorial.ipynb").stat().st_size < 10**6


def test_the_links_of_the_tutorial_lead_to_pages():
    text = "".join(line for cell in CELLS for line in cell["source"])
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all((ROOT / "docs" / link).is_file() for link in links)
