"""Rules of the package's structure: imports go one way, files form no circles, and importing is cheap."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import s5forecast

ROOT = Path(s5forecast.__file__).parent
# The other subpackages that each subpackage may import.
ALLOWED = {
    "ops": set(),
    "ssm": {"ops"},
    "nn": {"ops", "ssm", "distributions"},
    "distributions": set(),
    "data": set(),
    "windows": {"data"},
    "networks": {"ops", "ssm", "nn", "distributions", "data", "windows"},
    "pretraining": {"ops", "ssm", "networks"},
    "estimators": {"ops", "ssm", "nn", "distributions", "data", "windows", "networks", "pretraining"},
    "evaluation": {"data"},
    "plotting": {"data", "evaluation"},
    "presets": {"data", "estimators", "evaluation"},
}
# Third-party packages that a subpackage must not import.
FORBIDDEN = {
    "data": {"torch", "lightning", "plotly"},
    "evaluation": {"torch", "lightning", "plotly"},
    "plotting": {"torch", "lightning"},
    "networks": {"lightning"},
}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path):
    """Modules that a file imports, at its top, in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if file_of(submodule) else node.module


def file_of(module):
    """The file of a module of this package, or None."""
    path = ROOT.parent.joinpath(*module.split("."))
    if module.split(".")[0] != "s5forecast":
        return None
    if path.with_suffix(".py").exists():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").exists() else None


def import_graph():
    """Edges from each file to the files it imports. The lazy tables of contents are left out: they import on use."""
    graph = {path: {file_of(name) for name in imports(path)} - {None, path} for path in FILES}
    graph[ROOT / "__init__.py"] = set()
    return graph


def circles(graph):
    """Groups of files that import each other, directly or through others (Tarjan's algorithm)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(str(path.relative_to(ROOT)) for path in group))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_every_subpackage_has_a_rule():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(ALLOWED)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package):
    for path in (ROOT / package).rglob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "s5forecast" and len(parts) > 1 and (ROOT / parts[1]).is_dir():
                assert parts[1] in ALLOWED[package] | {package}, f"{path.relative_to(ROOT)} imports {name}"
            assert parts[0] not in FORBIDDEN.get(package, ()), f"{path.relative_to(ROOT)} imports {name}"


def test_files_form_no_circle():
    assert circles(import_graph()) == []


def test_circles_finds_a_circle():
    assert circles({ROOT / "a.py": {ROOT / "b.py"}, ROOT / "b.py": {ROOT / "a.py"}}) == [["a.py", "b.py"]]


def test_only_the_choice_of_the_sampling_tests_freq_for_none():
    asking = {str(path.relative_to(ROOT)) for path in FILES if re.search(r"freq is (not )?None", path.read_text())}
    assert asking <= {"forecaster_parameters.py"}


def test_datasets_is_not_a_package():
    assert not (ROOT.parent / "datasets" / "__init__.py").exists()


def test_importing_is_light():
    program = "import sys, s5forecast; assert not {'torch', 'gluonts', 'pandas'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_evaluation_and_plotting_load_without_torch():
    program = "import sys, s5forecast.evaluation, s5forecast.plotting; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_table_of_contents():
    assert set(s5forecast.__all__) == {
        "DiskData", "RayData", "S5AutoregressiveEstimator", "S5ContinuousEstimator", "S5Estimator", "S5Forecaster",
        "S5MultivariateEstimator", "S5Predictor", "backtest", "from_wide", "list_datasets", "load_dataset",
        "make_estimator", "regularize",
    }  # fmt: skip
    for name in s5forecast.__all__:
        assert callable(getattr(s5forecast, name)) and name in dir(s5forecast)
    with pytest.raises(AttributeError, match="S6Forecaster"):
        _ = s5forecast.S6Forecaster
