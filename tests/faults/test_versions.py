"""Fault 26: no package is older than the version that closed a known hole, here and in what is pinned."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

# The oldest version without the hole.
SAFE = {
    "transformers": ("5.3.0", "code of a config ran without trust_remote_code (CVE-2026-4372)"),
    "torch": ("2.6.0", "weights_only could be walked around (CVE-2025-32434)"),
    "jinja2": ("3.1.6", "the sandbox could be left through |attr (CVE-2025-27516)"),
    "gradio": ("6.7.0", "absolute paths were read (CVE-2026-28414), requests forwarded (CVE-2026-28416)"),
    "starlette": ("0.49.1", "a Range header cost quadratic time (CVE-2025-62727)"),
    "python-multipart": ("0.0.27", "forms without end (CVE-2026-40347, CVE-2026-42561)"),
    "safetensors": ("0.8.0", "a file was written in place, so that a full disk took the old one"),
    "pillow": ("11.3.0", "a picture wrote behind its buffer (CVE-2025-48379)"),
    "h11": ("0.16.0", "chunks were read leniently (CVE-2025-43859)"),
    "requests": ("2.32.4", "credentials were sent to another host (CVE-2024-47081)"),
    "urllib3": ("2.5.0", "redirects were followed although switched off (CVE-2025-50181)"),
}
# Packages that were sold with a Trojan or that are no boundary; none may come in by another.
UNWANTED = ("litellm", "guardrails-ai", "llm-guard", "picklescan", "slowapi")


@pytest.mark.parametrize("name", SAFE)
def test_no_package_is_older_than_its_known_hole(name):
    oldest, hole = SAFE[name]
    try:
        found = version(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    assert Version(found) >= Version(oldest), hole


def test_no_pin_allows_a_version_with_a_known_hole(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    wanted = [Requirement(line) for lines in lists for line in lines]
    checked = 0
    for requirement in wanted:
        name = requirement.name.lower()
        assert name not in UNWANTED
        if name in SAFE:
            bounds = [Version(part.version) for part in requirement.specifier if part.operator in ("==", ">=", "~=")]
            assert bounds, f"{name} has no lower bound"
            assert max(bounds) >= Version(SAFE[name][0]), SAFE[name][1]
            checked += 1
    assert checked >= 4


def test_no_locked_version_has_a_known_hole(repository):
    files = sorted((repository / "requirements").glob("*.txt"))
    assert files
    for file in files:
        for name, found in re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", file.read_text(encoding="utf-8"), re.M):
            package = name.lower().replace("_", "-")
            assert package not in UNWANTED, f"{file.name}: {package}"
            if package in SAFE:
                assert Version(found) >= Version(SAFE[package][0]), f"{file.name}: {SAFE[package][1]}"
