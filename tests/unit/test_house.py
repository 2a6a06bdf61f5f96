"""How the house hangs together: imports run one way, and each package that is imported is declared."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the modules of a folder may import of the house.
MAY_IMPORT = {
    "utils": {"utils"},
    "tools": {"utils", "tools"},
    "grader": {"utils", "tools", "grader"},
    "benchmarks": {"utils", "tools", "grader", "benchmarks"},
    "tests": {"utils", "tools", "grader"},
}
READERS = {"utils"}


def imported(module: Path) -> set[str]:
    """The top-level packages that a module imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def declared(*files: str) -> set[str]:
    """The packages that requirements files pin, in lower case with hyphens."""
    text = "\n".join((ROOT / file).read_text() for file in files)
    return {name.lower().replace("_", "-") for name in re.findall(r"^([\w-]+)==", text, re.MULTILINE)}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_run_one_way(folder):
    modules = list((ROOT / folder).rglob("*.py"))
    assert modules
    for module in modules:
        wrong = imported(module) & set(MAY_IMPORT) - MAY_IMPORT[folder]
        assert not wrong, f"{module.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_each_imported_package_is_declared(folder):
    files = ["requirements.txt"] if folder in READERS else ["requirements.txt", "requirements-dev.txt"]
    distributions = packages_distributions()
    own = {path.stem for path in [*ROOT.glob("*"), *(ROOT / folder).rglob("*.py")]}
    for module in (ROOT / folder).rglob("*.py"):
        for package in imported(module) - own - sys.stdlib_module_names:
            names = {name.lower().replace("_", "-") for name in distributions.get(package, [package])}
            assert names & declared(*files), f"{module.relative_to(ROOT)} imports {package}, which {files} do not pin"
