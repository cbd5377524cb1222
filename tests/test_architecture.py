"""The shape of the code: which way imports point, who may start processes, how long a module may be."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "orchestrator"

# package → what it may import from this project besides itself; from the command line to the engine, never back
MAY_IMPORT: dict[str, set[str]] = {
    "engine": set(),
    "lock": {"engine"},
    "hosts": {"engine"},
    "snapshots": {"engine"},
    "expose": {"engine", "hosts"},
    "catalog": {"engine"},
    "torch": {"engine"},
    "plan": {"engine", "hosts", "launcher", "torch"},
    "launcher": {"engine", "snapshots", "catalog"},
    "state": {"engine", "launcher"},
    "agent": {"engine", "expose", "snapshots", "launcher", "state", "torch"},
    "places": {"engine", "hosts", "launcher", "plan", "torch", "state", "agent"},
    "deploy": {"engine", "lock", "places"},
    "commands": {
        "engine",
        "expose",
        "hosts",
        "snapshots",
        "launcher",
        "catalog",
        "plan",
        "torch",
        "state",
        "agent",
        "lock",
        "places",
        "deploy",
    },
    "notebook": {"engine", "launcher", "state", "places", "commands"},
    "cli": {"engine", "commands"},
}
LEAVES = {"orchestrator.launcher.names"}  # import nothing but the engine, so everything above it may import them

# the modules that start processes or replace their own, and what for
MAY_START_PROCESSES = {
    "orchestrator/agent/__main__.py",  # leaves the command that started it
    "orchestrator/agent/interactive.py",  # becomes the user's shell
    "orchestrator/commands/gate_process.py",  # leaves the command that started it
    "orchestrator/engine/confinement.py",  # tries what the kernel allows
    "orchestrator/engine/detached.py",  # the agent, the gate
    "orchestrator/engine/hardware.py",  # nvidia-smi, lspci
    "orchestrator/engine/javascript/process.py",  # Node
    "orchestrator/engine/methods/exec.py",  # the method `exec`
    "orchestrator/engine/repositories.py",  # git, for scripts
    "orchestrator/engine/shell/keeper.py",  # the shells of scripts
    "orchestrator/engine/shell/spawner.py",  # the keepers
    "orchestrator/engine/tools/base.py",  # venv, for a pip
    "orchestrator/engine/tools/conda.py",  # conda's installer
    "orchestrator/engine/tools/pythons.py",  # Pythons, to ask which they are
    "orchestrator/hosts/pythons.py",  # Pythons, to ask what they have
    "orchestrator/expose/supervise.py",  # the gate again, when it died
    "orchestrator/expose/tunnels/child.py",  # becomes a tunnel's program
    "orchestrator/expose/tunnels/spawn.py",  # the programs of tunnels
    "orchestrator/launcher/git.py",  # git
    "orchestrator/lock/checkouts.py",  # git, for what a work tree is at
    "orchestrator/notebook/program.py",  # the command line, from a notebook's cell
    "orchestrator/agent/scrub.py",  # itself as root, in a container
    "orchestrator/places/container/launcher.py",  # git, for the files of a launcher
    "orchestrator/torch/probe.py",  # an environment's Python, to ask its torch
}

STARTS = {
    "subprocess": {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "os": {
        "system",
        "popen",
        "fork",
        "forkpty",
        "posix_spawn",
        "posix_spawnp",
        "execv",
        "execve",
        "execvp",
        "execvpe",
        "execl",
        "execle",
        "execlp",
        "spawnv",
        "spawnve",
        "spawnvp",
        "spawnl",
        "spawnlp",
    },
    "pty": {"fork", "spawn"},
    "multiprocessing": {"Process", "Pool", "get_context"},
}


def modules() -> list[Path]:
    return [ROOT / "cli.py", *sorted(PACKAGE.rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def part_of(module: str) -> str | None:
    """Return which of our packages a dotted name belongs to, None for anybody else's."""
    first, _, rest = module.partition(".")
    if first == "cli":
        return "cli"
    if first != "orchestrator":
        return None
    return rest.partition(".")[0] or "orchestrator"


def is_leaf(module: str) -> bool:
    return module in {"orchestrator", "orchestrator.__version__"} or any(
        f"{module}.".startswith(f"{leaf}.") for leaf in LEAVES
    )


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and dotted name of every import in a module, those inside functions and `if TYPE_CHECKING` too."""
    package = name_of(path).removesuffix(".py").removesuffix("/__init__").split("/")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path):
    own = part_of(name_of(path).removesuffix(".py").replace("/", "."))
    if path == PACKAGE / "__init__.py":
        allowed: set[str] = set()
    else:
        assert own in MAY_IMPORT, f"say in this test what `{own}` may import"
        allowed = MAY_IMPORT[own] | {own}
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for line, module in imported(path)
        if (part := part_of(module)) is not None and part not in allowed and not is_leaf(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_import_check_sees_imports_inside_functions_and_relative_ones(tmp_path, monkeypatch):
    inner = tmp_path / "orchestrator" / "engine" / "methods"
    inner.mkdir(parents=True)
    module = inner / "bad.py"
    module.write_text(
        "def f():\n"
        "    from orchestrator.commands import output\n"
        "    from ...agent import journal\n"
        "    import orchestrator.state\n"
    )
    monkeypatch.setattr("tests.test_architecture.ROOT", tmp_path)
    found = {part_of(name) for _, name in imported(module)}
    assert found == {"commands", "agent", "state"}


def test_no_two_packages_may_import_each_other():
    assert list(graphlib.TopologicalSorter(MAY_IMPORT).static_order())  # raises CycleError


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_leaves_import_nothing_but_the_engine(leaf):
    path = ROOT / f"{leaf.replace('.', '/')}.py"
    assert {part_of(module) for _, module in imported(path)} <= {None, "engine"}


def test_every_package_is_in_the_table():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(MAY_IMPORT)


def called(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and name of every process-starting function that a module refers to."""
    known = {f"{module}.{name}" for module, names in STARTS.items() for name in names}
    aliases = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{aliases.get(node.value.id, node.value.id)}.{node.attr}"
            if name in known and node.value.id in aliases:
                yield node.lineno, name
        elif isinstance(node, ast.ImportFrom):
            yield from (
                (node.lineno, f"{node.module}.{alias.name}")
                for alias in node.names
                if f"{node.module}.{alias.name}" in known
            )


def test_only_these_modules_start_processes():
    found = {name_of(path): list(called(path)) for path in modules()}
    starting = {name for name, calls in found.items() if calls}
    new = [f"{name}:{line} {call}" for name in sorted(starting - MAY_START_PROCESSES) for line, call in found[name]]
    assert not new, "start processes through one of the modules in MAY_START_PROCESSES:\n" + "\n".join(new)
    assert not (unused := MAY_START_PROCESSES - starting), f"no longer start processes: {unused}"


def test_no_command_goes_through_a_shell():
    """Commands of ours are lists of arguments: nothing that a launcher or a server says is ever parsed by a shell."""
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and any(
            word.arg == "shell" and not (isinstance(word.value, ast.Constant) and not word.value.value)
            for word in node.keywords
        )
        and ast.unparse(node.func).rpartition(".")[2] in STARTS["subprocess"]
    ]
    assert not wrong


@pytest.mark.parametrize("path", [*modules(), *sorted(PACKAGE.rglob("sidecar/*.js"))], ids=name_of)
def test_modules_are_short(path):
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= 500, f"{name_of(path)} has {lines} lines: split it"


def test_no_module_is_called_utils():
    assert not [name_of(path) for path in modules() if path.stem in {"utils", "util", "helpers", "common", "misc"}]


def test_every_module_says_what_is_in_it():
    assert not [name_of(path) for path in modules() if not ast.get_docstring(tree(path))]


def test_every_suppression_has_a_reason():
    """A suppression says why on the same line; further ones of the same rule in a module need not say it again."""
    suppression = re.compile(r"#\s*(noqa: [A-Z0-9, ]+[0-9]|noqa|type: ignore(?:\[[\w, -]+\])?)\s*(#.*)?$")
    wrong = []
    for path in modules():
        explained: set[str] = set()
        bare: list[tuple[int, str]] = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if found := suppression.search(line):
                if found[2]:
                    explained.add(found[1])
                else:
                    bare.append((number, found[1]))
        wrong += [f"{name_of(path)}:{number}: {rule}" for number, rule in bare if rule not in explained]
    assert not wrong, "\n".join(wrong)
