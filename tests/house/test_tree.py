"""The tree as a whole: set-up files agree, documents point at what exists, nothing belongs to one machine only."""

import re
import subprocess
import sys
import tomllib

import pytest

TEXT_ENDINGS = {".py", ".md", ".toml", ".txt", ".json", ".yaml", ".yml", ".sh", ".css", ".html", ".js", ""}


@pytest.fixture(scope="module")
def tracked(request: pytest.FixtureRequest):
    """Files that belong to the project: in the index, or new and not ignored."""
    root = request.config.rootpath
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("needs a git checkout")
    return [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest):
    return tomllib.loads((request.config.rootpath / "pyproject.toml").read_text(encoding="utf-8"))


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==(\S+)", text, re.MULTILINE))


def test_no_file_names_a_folder_of_somebodys_machine(tracked):
    own = re.compile(r"(?<![\w.~:/-])/(?:root|work|mnt|srv)/\w")
    found = [
        f"{path}:{number}"
        for path in tracked
        if path.suffix in TEXT_ENDINGS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if own.search(line)
    ]

    assert found == []


def test_no_file_is_larger_than_two_megabytes(tracked):
    assert [path.name for path in tracked if path.stat().st_size > 2 * 2**20] == []


def test_the_lock_holds_every_dependency_at_the_version_of_pyproject(project, repository):
    locked = pins((repository / "requirements/lock.txt").read_text(encoding="utf-8"))
    asked = pins("\n".join(project["project"]["dependencies"] + project["dependency-groups"]["dev"]))

    assert asked.pop("torch")  # installed first, by version: its build depends on the machine
    assert "torch" not in locked
    assert {name: locked.get(name) for name in asked} == asked


def test_the_bundled_model_is_pinned_with_its_hash(project, repository):
    text = (repository / "requirements/bundled.txt").read_text(encoding="utf-8")

    assert pins(text) == pins("\n".join(project["dependency-groups"]["bundled"]))


@pytest.mark.parametrize("name", ["lock.txt", "bundled.txt"])
def test_a_lock_has_hashes_and_neither_index_nor_local_path(repository, name):
    text = (repository / "requirements" / name).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", text)[1:]

    assert len(entries) == len(pins(text))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|^-|file:|\.whl", text, re.MULTILINE)


def test_set_up_without_a_usable_python_says_what_is_needed(repository, tmp_path):
    done = subprocess.run(
        ["sh", repository / "scripts/setup.sh"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHON": "no-such-python"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert "no usable Python found (looked for: no-such-python)" in done.stderr
    assert "3.11, 3.12 or 3.13" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_make_target_and_file_named_in_the_documents_exists(repository):
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (repository / name).read_text(encoding="utf-8")
        assert set(re.findall(r"(?:^|`)(?:[A-Z]+=\S+ )?make ([a-z]+)", text, re.MULTILINE)) <= targets, name
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (repository / link).exists(), f"{name} links to {link}"


def test_an_adr_has_a_number_four_parts_and_at_most_40_lines(repository):
    files = sorted((repository / "docs/adr").glob("*.md"))

    assert [int(path.name[:4]) for path in files] == list(range(1, len(files) + 1))
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, path.name
        for part in ("## Context", "## Decision", "## Consequences", "## Refused"):
            assert part in text, f"{path.name} lacks {part}"


def test_the_sizes_report_names_what_is_too_large(repository, tmp_path):
    body = "".join(f"    x = {i}\n" for i in range(70))
    (tmp_path / "large.py").write_text(f"def long():\n{body}" + "# line\n" * 400, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, repository / "scripts/sizes.py", tmp_path], capture_output=True, text=True, check=True
    )

    assert "file of 471 lines: large.py" in done.stdout
    assert "function of 71 lines: large.py:1 long" in done.stdout
    assert "1 files, 471 lines" in done.stdout


def test_the_sizes_report_runs_on_this_project(repository):
    done = subprocess.run([sys.executable, repository / "scripts/sizes.py"], capture_output=True, text=True, check=True)

    assert "longest function" in done.stdout.splitlines()[-1]
