"""The documentation against the code: nothing is missing, nothing is made up, every link leads somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import cli
from orchestrator.engine import methods
from orchestrator.engine.call import IGNORED
from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.hosts.detection import CLUES, Variables
from orchestrator.hosts.facts import PLATFORMS

ROOT = Path(__file__).parent.parent.parent
DOCS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").glob("*.md"),
        ROOT / "examples" / "README.md",
        *(ROOT / "examples").glob("*/README.md"),
    ]
)
# from `pinoctl shell` to the bash it starts, and from a sidecar to what it starts
INTERNAL = {"PINOCTL_SHELL_APP", "PINOCTL_SHELL_CONDA", "PINOCTL_SHELL_VENV", "PINOCTL_SIDECAR"}
WORDS = ("not installed", "installing", "stopped", "starting", "ready", "failed")


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be called, by its full name."""
    context = click.Context(cli.pinoctl, info_name="pinoctl")

    def below(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from below(command, f"{prefix}{name} ")
            else:
                yield prefix + name, command

    yield from below(cli.pinoctl, "")


COMMANDS = dict(commands())


def sections() -> dict[str, str]:
    """Return the sections of docs/cli.md by command."""
    parts = re.split(r"^## `pinoctl ([^`]+)`$", text_of("docs/cli.md"), flags=re.MULTILINE)
    return {
        re.match(r"[a-z ]+[a-z]", head)[0].strip(): f"{head}\n{body}"
        for head, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def options_of(command: click.Command) -> set[str]:
    found = {
        name
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    return found - {"--help", "-h"}


def test_every_command_has_a_section_and_every_section_a_command():
    assert set(sections()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_exactly_the_options_of_its_command(name):
    section = sections()[name]
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", "".join(re.findall(r"`[^`]*`", section)))) - {
        "-h",
        "--help",
    }
    assert documented == options_of(COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_heading_names_the_arguments_of_its_command(name):
    command = COMMANDS[name]
    context = click.Context(command)
    wanted = " ".join(
        argument.make_metavar(context) for argument in command.params if isinstance(argument, click.Argument)
    )
    assert sections()[name].splitlines()[0] == f"{name} {wanted}".strip()


def test_the_readme_names_every_command():
    table = text_of("README.md")
    missing = [name for name in COMMANDS if not re.search(rf"`[^`\n]*\b{re.escape(name)}\b[^`\n]*`", table)]
    assert not missing


def test_the_readme_calls_only_commands_that_exist():
    called = re.findall(r"^pinoctl (\w+)", text_of("README.md") + text_of("examples/README.md"), re.MULTILINE)
    assert called
    assert set(called) <= {name.split()[0] for name in COMMANDS}


def test_every_exit_status_is_documented():
    statuses = {0, 130, PinoctlError.exit_status, BadInputError.exit_status, click.UsageError.exit_code}
    in_cli = {int(number) for number in re.findall(r"^\| (\d+) \|", text_of("docs/cli.md"), re.MULTILINE)}
    assert in_cli == statuses
    line = re.search(r"\*\*Exit status\*\*: (.*)", text_of("README.md"))
    assert line is not None
    assert {int(number) for number in re.findall(r"(\d+) [a-z]", line[1])} == statuses


def test_the_state_words_are_documented():
    for name in ("README.md", "docs/cli.md"):
        assert all(f"`{word}" in text_of(name) for word in WORDS)


def variables() -> set[str]:
    """Return the variables that the code reads: PINOCTL_* anywhere, others where an environment is asked for them."""
    homes = [CLUES[name] for name, facts in PLATFORMS.items() if facts.bases]
    strong = [each for clues in homes for each in clues if isinstance(each, Variables) and each.strong]
    found = {name for each in strong for name in each.names}
    asked = re.compile(r"""(?:environ|base_env|process\.env|self\.process)(?:\.get\(|\[|\.)\s*["']?([A-Z][A-Z0-9_]+)""")
    for path in [ROOT / "cli.py", *(ROOT / "orchestrator").rglob("*.py"), *(ROOT / "orchestrator").rglob("*.js")]:
        source = path.read_text("utf-8")
        found |= set(re.findall(r"\bPINOCTL_[A-Z_]*[A-Z]\b", source)) | set(asked.findall(source))
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.keyword) and node.arg == "envvar" and isinstance(node.value, ast.Constant):
                    found.add(node.value.value)
    return found - INTERNAL


def test_every_variable_is_documented():
    documented = text_of("docs/configuration.md")
    missing = [name for name in sorted(variables()) if f"`{name}{'*' if name.endswith('_') else ''}`" not in documented]
    assert not missing


def test_no_variable_of_ours_is_made_up():
    documented = {name for path in DOCS for name in re.findall(r"\bPINOCTL_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))}
    assert documented <= variables()


def registered() -> set[str]:
    return set(methods.load_all()) | set(IGNORED)


def documented_methods() -> set[str]:
    table = text_of("docs/scripts.md").partition("\n## Methods\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", " ".join(rows))) - {"kernel.*"}


def test_every_method_is_documented_and_every_documented_method_exists():
    assert documented_methods() == registered()


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"`{target}` is not there"
        assert not anchor or anchor in anchors(file), f"`{target}` is no heading of that page"


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[\w.-]+)", text_of("README.md")))
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} <= linked


def test_files_that_the_docs_name_exist():
    paths = {
        name
        for path in DOCS
        for name in re.findall(r"`((?:tests|docs|examples|benchmarks|orchestrator)/[\w./-]+)`", path.read_text("utf-8"))
    }
    assert paths
    assert not [name for name in sorted(paths) if not (ROOT / name).exists()]


def test_make_targets_in_the_docs_exist():
    targets = set(re.findall(r"^([a-z]+):.*## ", text_of("Makefile"), re.MULTILINE))
    called = {
        name
        for path in DOCS
        for name in re.findall(r"^(?:make|    make) (\w+)|`make (\w+)", path.read_text("utf-8"), re.MULTILINE)
        for name in name
        if name
    }
    assert {"up", "test", "down"} <= called
    assert called <= targets


def test_ci_runs_the_command_of_the_readme():
    assert re.search(r"^make test\b", text_of("README.md"), re.MULTILINE)
    assert text_of(".ci/run").rstrip().endswith("make test")


def test_nothing_of_the_place_where_it_was_written_is_in_the_docs():
    assert not [path.name for path in DOCS if re.search(r"/work/|/tmp/|/root/", path.read_text("utf-8"))]
