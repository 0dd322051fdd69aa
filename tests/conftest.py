"""What every test shares: no way out to the network, and the data that lies beside a checkout of the repository."""

import errno
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# What a shell runs in its background is deaf to Ctrl-C, and so would be every command that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def repository() -> Path:
    """The root of the working tree."""
    return REPOSITORY


@pytest.fixture
def shared_data() -> Path:
    """The folder with data sets that are too large for the repository; the test is skipped where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the data folder beside the repository (../shared/data)")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what runs and plans remember of the machine out of the person's home, and out of the other tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse every address but this machine's, and fail the test that asked for one.

    A test that shows what happens without a network carries the marker `offline`.
    """
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", _local_only(socket.getaddrinfo, asked, host=lambda args: args[0]))
    for method in ("connect", "connect_ex"):
        real = getattr(socket.socket, method)
        monkeypatch.setattr(socket.socket, method, _local_only(real, asked, host=lambda args: args[1]))
    yield
    if not request.node.get_closest_marker("offline"):
        assert asked == [], f"the test asked the network for {', '.join(asked)}"


def _local_only(real: Callable[..., Any], asked: list[str], *, host: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        wanted = host(args)
        name = wanted[0] if isinstance(wanted, tuple) else wanted
        if isinstance(wanted, str) and real.__name__ != "getaddrinfo":
            return real(*args, **kwargs)  # a Unix socket
        if not _is_local(name):
            asked.append(str(name))
            raise OSError(errno.ENETUNREACH, f"no network in tests: {name}")
        return real(*args, **kwargs)

    return guarded


def _is_local(name: object) -> bool:
    if name is None or name in ("", "localhost", b"localhost", socket.gethostname()):
        return True
    text = name.decode() if isinstance(name, bytes) else str(name)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Llama with two blocks and the bundled tokenizer: the paths of a large model, in a second."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from duologue.engine import BaseModel
    from duologue.engine.hf.load import load_tokenizer

    folder = tmp_path_factory.mktemp("tiny-model")
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=49152,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer(BaseModel("bundled:smollm2-135m")).save(folder)
    return str(folder)
