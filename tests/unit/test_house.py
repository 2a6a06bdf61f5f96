"""How the house hangs together: imports run one way and do no work, and each package that is imported is declared."""

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
# What has to be set before MXNet is imported, and what a fork server can do at no other moment.
WORK_AT_IMPORT = {"utils/__init__.py", "utils/fork_server.py"}


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


def does_work(statement: ast.stmt) -> bool:
    """Whether a statement of a module does more than import, define or document, where the module is no program."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return False
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__")) | ast.Name(id="TYPE_CHECKING")):
            return False
    definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign | ast.AugAssign
    return not isinstance(statement, ast.Import | ast.ImportFrom | definition)


@pytest.mark.parametrize("folder", ["utils", "tools", "grader", "benchmarks"])
def test_importing_a_module_does_no_work(folder):
    for module in (ROOT / folder).rglob("*.py"):
        name = str(module.relative_to(ROOT))
        if name not in WORK_AT_IMPORT:
            work = [ast.unparse(statement) for statement in ast.parse(module.read_text()).body if does_work(statement)]
            assert not work, f"{name} runs {work}"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_each_imported_package_is_declared(folder):
    files = ["requirements.txt"] if folder in READERS else ["requirements.txt", "requirements-dev.txt"]
    distributions = packages_distributions()
    own = {path.stem for path in [*ROOT.glob("*"), *(ROOT / folder).rglob("*.py")]}
    for module in (ROOT / folder).rglob("*.py"):
        for package in imported(module) - own - sys.stdlib_module_names:
            names = {name.lower().replace("_", "-") for name in distributions.get(package, [package])}
            assert names & declared(*files), f"{module.relative_to(ROOT)} imports {package}, which {files} do not pin"
