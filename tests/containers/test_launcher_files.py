"""A launcher on its way into an image: which files, packed how, and what changes their hash; with real git."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import pytest

from orchestrator.places.container.launcher import (
    LARGE,
    LauncherFile,
    Sums,
    about_itself,
    digest,
    digests,
    files_of,
    left_out,
    pack,
    packed,
)

GIT = {
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def git(folder, *words):
    done = subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **GIT}, check=True, capture_output=True, text=True
    )
    return done.stdout


def put(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "launcher"
    made.mkdir()
    return put(made, install_js="1", start_js="2", sub__a_txt="3", README_md="# A")


@pytest.fixture
def repository(folder):
    put(folder, _gitignore="/env\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def names(folder):
    return [file.path for file in files_of(folder)]


def unpacked(folder, target):
    with packed(folder, files_of(folder), "demo") as archive, tarfile.open(fileobj=archive) as tar:
        tar.extractall(target, filter="data")
    return target / "demo"


class TestWithoutGit:
    def test_everything_goes_along_but_installations(self, folder):
        for name in ("env/pyvenv.cfg", "env/lib/x.py", "conda/conda-meta/history", "node_modules/x.js",
                     "app/main.py", "app/node_modules/y.js", "app/.venv/pyvenv.cfg"):  # fmt: skip
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")
        assert names(folder) == ["README.md", "app/main.py", "install.js", "start.js", "sub/a.txt"]

    def test_a_launcher_that_looks_like_an_installation_is_packed_all_the_same(self, folder):
        (folder / "pyvenv.cfg").write_text("")
        assert "start.js" in names(folder)

    def test_the_users_own_values_stay_here(self, folder):
        put(folder, ENVIRONMENT="HF_TOKEN=x", pinokio__ENVIRONMENT="x", __pycache____x_pyc="")
        assert not [name for name in names(folder) if "ENVIRONMENT" in name or "pycache" in name]

    def test_links_stay_links(self, folder):
        (folder / "link").symlink_to("/etc/passwd")
        (folder / "dir").symlink_to("sub")
        (folder / "gone").symlink_to("nowhere")
        found = {file.path: file.link for file in files_of(folder) if file.link}
        assert found == {"link": "/etc/passwd", "dir": "sub", "gone": "nowhere"}

    def test_what_is_no_file_is_left_out(self, folder):
        os.mkfifo(folder / "pipe")
        assert "pipe" not in names(folder)

    def test_an_empty_folder_is_a_folder(self, tmp_path):
        (tmp_path / "empty").mkdir()
        assert list(unpacked(tmp_path / "empty", tmp_path / "out").iterdir()) == []

    def test_names_may_hold_any_byte(self, folder, tmp_path):
        (folder / os.fsdecode(b"\xff \n.txt")).write_text("odd")
        out = unpacked(folder, tmp_path / "out")
        assert (out / os.fsdecode(b"\xff \n.txt")).read_text() == "odd"
        assert digest(files_of(folder)) != digest([])


class TestWithGit:
    def test_ignored_files_stay_here(self, repository):
        put(repository, env__x="installed", new_js="not added yet")
        assert names(repository) == [".gitignore", "README.md", "install.js", "new.js", "start.js", "sub/a.txt"]

    def test_deleted_files_are_gone(self, repository):
        (repository / "start.js").unlink()
        assert "start.js" not in names(repository)

    def test_a_folder_in_a_repository_has_paths_of_its_own(self, repository):
        assert names(repository / "sub") == ["a.txt"]

    def test_the_repository_goes_along_and_works(self, repository, tmp_path):
        git(repository, "remote", "add", "origin", "https://example.com/x.git")
        put(repository, start_js="changed")
        out = unpacked(repository, tmp_path / "out")
        assert git(out, "log", "--format=%s") == "one\n"
        assert git(out, "status", "--porcelain") == " M start.js\n"
        assert git(out, "remote", "get-url", "origin") == "https://example.com/x.git\n"

    def test_a_repository_whose_references_are_packed_works_too(self, repository, tmp_path):
        git(repository, "pack-refs", "--all")
        assert git(unpacked(repository, tmp_path / "out"), "log", "--format=%s") == "one\n"

    def test_locks_of_git_stay_here(self, repository, tmp_path):
        (repository / ".git" / "index.lock").write_text("")
        out = unpacked(repository, tmp_path / "out")
        assert not (out / ".git" / "index.lock").exists()
        git(out, "add", ".")


class TestUsedBefore:
    @pytest.fixture
    def used(self, repository):
        """Make what a launcher's folder holds that was installed and used on the host."""
        put(repository, venv__pyvenv_cfg="", venv__lib__x_py="", mine_js="", _env="TOKEN=x")
        put(repository, _env_local="TOKEN=x", _env_example="TOKEN=", web__page_html="", settings_json="TOKEN=x")
        (repository / "web" / "node_modules").mkdir()
        (repository / "web" / "node_modules" / "y.js").write_text("")
        return repository

    def test_what_was_installed_or_is_secret_stays_here(self, used):
        added = {".env.example", "mine.js", "settings.json", "web/page.html"}
        assert set(names(used)) == {".gitignore", "README.md", "install.js", "start.js", "sub/a.txt", *added}
        assert left_out(used) == [".env", ".env.local", "venv/", "web/node_modules/"]

    def test_of_a_clone_of_ours_only_what_is_tracked_goes_along(self, used):
        put(used, start_js="changed")
        found = files_of(used, tracked_only=True)
        assert [file.path for file in found] == [".gitignore", "README.md", "install.js", "start.js", "sub/a.txt"]
        assert {"settings.json", "venv/"} <= set(left_out(used, tracked_only=True))

    def test_what_is_tracked_goes_along_whatever_it_is(self, used):
        git(used, "add", "-f", ".env", "venv")
        assert {".env", "venv/lib/x.py"} <= set(names(used))

    def test_without_git_it_stays_here_as_well(self, folder):
        put(folder, venv__pyvenv_cfg="", venv__lib__x_py="", _env="TOKEN=x")
        assert not {".env", "venv/lib/x.py", "venv/"} & set(names(folder))
        assert left_out(folder) == [".env", "venv/"]


class TestArchive:
    def test_everything_is_the_containers_users(self, folder):
        (folder / "run.sh").write_text("#!/bin/sh")
        (folder / "run.sh").chmod(0o700)
        (folder / "start.js").chmod(0o600)
        archive = io.BytesIO()
        pack(folder, files_of(folder), "demo", archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            found = {entry.name: entry for entry in tar}
        assert {(entry.uid, entry.gid) for entry in found.values()} == {(1000, 1000)}
        assert (found["demo/run.sh"].mode, found["demo/start.js"].mode) == (0o755, 0o644)
        assert next(iter(found)) == "demo"  # folders first
        assert found["demo/sub"].isdir()
        assert len(found) == len(set(found))

    def test_a_link_to_the_folder_packs_what_it_leads_to(self, folder, tmp_path):
        (tmp_path / "other").symlink_to(folder)
        assert names(tmp_path / "other") == names(folder)


class TestHashes:
    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: put(folder, start_js="3"),
            lambda folder: put(folder, new_js=""),
            lambda folder: (folder / "start.js").unlink(),
            lambda folder: (folder / "start.js").rename(folder / "stop.js"),
            lambda folder: (folder / "start.js").chmod(0o755),
            lambda folder: (folder / "link").symlink_to("start.js"),
        ],
    )
    def test_every_change_counts(self, folder, change):
        before = digest(files_of(folder))
        change(folder)
        assert digest(files_of(folder)) != before

    def test_times_and_places_do_not(self, folder, tmp_path):
        before = digest(files_of(folder)), digests(files_of(folder))
        os.utime(folder / "start.js", (0, 0))
        moved = folder.rename(tmp_path / "elsewhere")
        assert (digest(files_of(moved)), digests(files_of(moved))) == before

    def test_a_large_file_is_read_once(self, folder, tmp_path, monkeypatch):
        read = []
        content = LauncherFile.content
        monkeypatch.setattr(LauncherFile, "content", lambda file: read.append(file.path) or content(file))
        with (folder / "model.bin").open("wb") as file:
            file.truncate(LARGE + 1)

        def look():
            read.clear()
            return digest(files_of(folder), sums=Sums(tmp_path / "kept" / "sums.json")), "model.bin" in read

        first, second = look(), look()
        assert (first[1], second[1]) == (True, False)
        assert first[0] == second[0] == digest(files_of(folder))
        with (folder / "model.bin").open("r+b") as file:
            file.write(b"x")
        assert look() == (digest(files_of(folder)), True)
        (tmp_path / "kept" / "sums.json").write_text("[]")
        assert look()[1]

    def test_some_may_be_left_out(self, folder):
        before = digest(files_of(folder), without={"start.js"})
        put(folder, start_js="other")
        assert digest(files_of(folder), without={"start.js"}) == before

    def test_each_file_has_its_own(self, folder):
        before = digests(files_of(folder))
        put(folder, start_js="other")
        after = digests(files_of(folder))
        assert {name for name in before if before[name] != after[name]} == {"start.js"}


def test_what_only_tells_of_the_launcher(folder):
    put(folder, icon_PNG="", pinokio_js="", pinokio__pinokio_json="", sub__LICENSE="", app__pinokio_js="", sub__b_MD="")
    assert about_itself(files_of(folder)) == {
        "README.md", "icon.PNG", "pinokio.js", "pinokio/pinokio.json", "sub/LICENSE", "sub/b.MD"
    }  # fmt: skip


def test_the_files_of_submodules_come_along(repository, tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    put(part, code_py="1", _gitignore="/made\n")
    git(part, "init", "-q", "-b", "main")
    git(part, "add", ".")
    git(part, "commit", "-q", "-m", "part")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(part), "parts/one")
    put(repository / "parts/one", made="ignored")
    put(repository, cloned__x_py="installed by a script")
    git(repository / "cloned", "init", "-q")

    paths = {file.path for file in files_of(repository)}

    assert {"parts/one/code.py", "parts/one/.git", ".gitmodules"} <= paths
    assert not paths & {"parts/one/made", "cloned/x.py", "parts/one"}
