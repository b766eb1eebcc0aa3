"""Imports run from higher layers to lower ones."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import moeisr_plugin

ROOT = Path(moeisr_plugin.__file__).parent
LAYERS = [
    {"utils", "ops", "metrics"},
    {"archs", "pictures", "losses"},
    {"render", "data", "checkpoints"},
    {"models", "upscaler", "exporting", "spandrel"},
    {"options", "openmmlab"},
    {"evaluation"},
    {"publishing", "web", "video"},
    {"commands"},
    {"cli", "train", "test", "run"},
]
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
# The hooks into basicsr import upper modules at the time of a call, and any layer may need a hook.
EXEMPT = {"toolbox", "__init__"}


def imported_parts(path: Path) -> set[str]:
    """Return the parts of the plugin that a file imports, imports inside functions included."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ("moeisr_plugin", *path.relative_to(ROOT).parent.parts)
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names += [f"{module}.{alias.name}" for alias in node.names]
    parts = {name.split(".")[1] for name in names if name.startswith("moeisr_plugin.")}
    return {part for part in parts if part in LEVELS}


def imports() -> dict[str, set[tuple[str, str]]]:
    """Return pairs (file, imported part) for each part of the plugin."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        file = path.relative_to(ROOT)
        part = file.parts[0].removesuffix(".py")
        if part not in EXEMPT:
            assert part in LEVELS, f"{file}: add {part} to LAYERS"
            found.setdefault(part, set()).update((str(file), other) for other in imported_parts(path))
    return found


def test_no_import_runs_to_a_higher_layer():
    upward = [
        f"{file} imports {other}"
        for part, pairs in imports().items()
        for file, other in sorted(pairs)
        if LEVELS[other] > LEVELS[part]
    ]
    assert upward == []


def test_packages_do_not_import_each_other_in_circles():
    graph = {part: {other for _, other in pairs} - {part} for part, pairs in imports().items()}
    TopologicalSorter(graph).prepare()


def test_the_root_holds_at_most_seven_modules():
    assert len(list(ROOT.glob("*.py"))) <= 7
