import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from duologue.engine import Parity
from duologue.errors import ConfigError, EngineError
from duologue.export.artifact import LABEL, write_label
from duologue.export.hub import Remote, look, make_parcel, push, stale_files
from tests.export.hub import TOKEN, Fault, LocalHub, running_hub

CARD = '---\nbase_model: "someone/small"\nlicense: "apache-2.0"\n---\n\n# Lila\n'
GOOD = Parity(
    mean_kl_nats=0.001,
    greedy_agreement=0.99,
    max_logit_difference=0.1,
    num_prompts=5,
    num_positions=300,
    ids_equal=True,
    stops=True,
)
REPO = "ann/lila"
# huggingface_hub 2.4 hands its files to its HTTP client in a way that the client has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # as HF_HUB_DISABLE_XET=1 does
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # the client waits between attempts
    with running_hub() as hub:
        # The client would ask huggingface.co, whatever the endpoint, for a list of programs it may be run by.
        monkeypatch.setattr("huggingface_hub.utils._detect_agent._fetch_registry", lambda: None)
        yield hub


def merged(folder: Path, *, parity: Parity | None = GOOD, shards: int = 2, card: str = CARD) -> Path:
    """Make an export as `export merged` leaves it, with made-up weights."""
    folder.mkdir()
    (folder / "README.md").write_text(card)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    for number in range(shards):
        content = bytes([number]) * (500_000 if number else 5_000)  # the second one goes in parts
        (folder / f"model-0000{number + 1}-of-0000{shards}.safetensors").write_bytes(content)
    write_label(folder, parity=parity)
    return folder


def sent(hub: LocalHub, folder: Path, *, repo: str = REPO, is_public: bool = False, token: str = TOKEN):
    """Push a merged model as the command does."""
    parcel = make_parcel(folder, repo, kind="merged", is_public=is_public)
    return push(parcel, look(parcel, token=token, endpoint=hub.url), token=token, endpoint=hub.url)


def test_a_pushed_model_is_private_and_can_be_fetched_again_byte_for_byte(hub, tmp_path) -> None:
    from huggingface_hub import hf_hub_download

    folder = merged(tmp_path / "merged")
    done = sent(hub, folder)
    repo = hub.repos["model", REPO]
    assert repo.private and repo.commits == 1 and done.num_sent == 5
    assert set(repo.large) == {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert sum("/storage/" in line and line.count("/") == 3 for line in hub.uploads()) == 2  # two parts of the second
    for file in folder.iterdir():
        found = hf_hub_download(REPO, file.name, token=TOKEN, endpoint=hub.url, cache_dir=tmp_path / "cache")
        assert Path(found).read_bytes() == file.read_bytes()


def test_pushing_again_sends_nothing_and_makes_no_commit(hub, tmp_path) -> None:
    folder = merged(tmp_path / "merged")
    sent(hub, folder)
    before = hub.received
    done = sent(hub, folder)
    assert (done.num_sent, done.num_bytes_sent, hub.received) == (0, 0, before)
    assert hub.repos["model", REPO].commits == 1


def test_a_changed_card_is_sent_without_the_weights(hub, tmp_path) -> None:
    folder = merged(tmp_path / "merged")
    sent(hub, folder)
    before = hub.received
    (folder / "README.md").write_text(CARD + "More.\n")
    write_label(folder, parity=GOOD)
    done = sent(hub, folder)
    assert done.num_sent == 2 and hub.received == before  # the card and the label
    assert hub.repos["model", REPO].files["README.md"].endswith(b"More.\n")


@pytest.mark.parametrize(
    "pattern, fault",
    [
        (r"PUT /storage/\w+/2", [Fault(500)] * 6),
        (r"PUT /storage/\w+/2", [Fault(0)] * 6),
        (r"/commit/main", [Fault(500)]),
        (r"/commit/main", [Fault(0)]),
        (r"POST /complete/", [Fault(503)] * 6),
    ],
)
def test_after_a_broken_upload_the_same_command_goes_on_without_sending_what_is_there(
    hub, tmp_path, pattern, fault
) -> None:
    folder = merged(tmp_path / "merged")
    hub.fail(pattern, *fault)
    with pytest.raises(EngineError, match="goes on from there"):
        sent(hub, folder)
    first = hashlib.sha256((folder / "model-00001-of-00002.safetensors").read_bytes()).hexdigest()
    assert hub.repos["model", REPO].files == {}, "half a push must not be seen"
    hub.faults.clear()
    hub.asked.clear()
    sent(hub, folder)
    assert not any(first in line for line in hub.uploads())
    assert len(hub.repos["model", REPO].files) == 5


def test_a_short_fault_of_the_hub_is_got_over(hub, tmp_path) -> None:
    hub.fail(r"PUT /storage/", Fault(500), Fault(0), Fault(429, {"Retry-After": "1"}))
    sent(hub, merged(tmp_path / "merged"))
    assert len(hub.repos["model", REPO].files) == 5


@pytest.mark.parametrize(
    "pattern, fault, error, words",
    [
        ("whoami", Fault(401), ConfigError, "does not accept the token.*role 'write'"),
        ("repos/create", Fault(403, message="no write access"), ConfigError, "may not do this.*repositories of ann"),
        ("commit/main", Fault(403), ConfigError, "may not do this"),
        ("commit/main", Fault(413), EngineError, "too large"),
        ("commit/main", Fault(429, {"Retry-After": "77"}), EngineError, "too many requests.*Wait 77 seconds"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence_with_what_to_do(hub, tmp_path, pattern, fault, error, words) -> None:
    hub.fail(pattern, fault)
    with pytest.raises(error, match=words):
        sent(hub, merged(tmp_path / "merged"))


def test_a_wrong_token_is_told_from_a_missing_permission(hub, tmp_path) -> None:
    with pytest.raises(ConfigError, match="does not accept the token"):
        sent(hub, merged(tmp_path / "merged"), token="wrong")
    assert not hub.repos


def test_a_hub_that_is_not_there_is_a_sentence(hub, tmp_path) -> None:
    parcel = make_parcel(merged(tmp_path / "merged"), REPO, kind="merged")
    with pytest.raises(EngineError, match="the connection failed"):
        look(parcel, token=TOKEN, endpoint="http://127.0.0.1:9")


def test_what_arrives_changed_is_found_out(hub, tmp_path) -> None:
    hub.spoils = True
    with pytest.raises(EngineError, match=r"not what was sent: model-00001-of-00002\.safetensors"):
        sent(hub, merged(tmp_path / "merged"))


def test_what_is_meant_to_be_private_does_not_go_to_a_public_repository(hub, tmp_path) -> None:
    folder = merged(tmp_path / "merged")
    sent(hub, folder, is_public=True)
    assert not hub.repos["model", REPO].private
    with pytest.raises(ConfigError, match="is there and public"):
        sent(hub, folder)


def test_shards_of_another_cut_are_removed_and_what_a_person_added_stays(hub, tmp_path) -> None:
    sent(hub, merged(tmp_path / "two"))
    hub.repos["model", REPO].files["my-picture.png"] = b"a picture"
    done = sent(hub, merged(tmp_path / "three", shards=3))
    assert done.removed == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    names = set(hub.repos["model", REPO].files)
    assert "my-picture.png" in names and "model-00003-of-00003.safetensors" in names
    assert not names & set(done.removed)


def test_files_of_an_earlier_gguf_stay_beside_the_new_one(tmp_path) -> None:
    folder = tmp_path / "gguf"
    folder.mkdir()
    (folder / "lila-q8_0.gguf").write_bytes(b"GGUF")
    (folder / "README.md").write_text(CARD)
    write_label(folder, parity=GOOD)
    parcel = make_parcel(folder, REPO, kind="gguf")
    assert stale_files(parcel, Remote("ann", True, True, {"lila-f16.gguf": "x"})) == ()


def test_texts_that_call_the_user_by_name_are_not_shown_to_everybody(tmp_path) -> None:
    folder = tmp_path / "gguf"
    folder.mkdir()
    (folder / "lila-q8_0.gguf").write_bytes(b"GGUF")
    (folder / "README.md").write_text(CARD)
    write_label(folder, parity=GOOD, more={"names_user": True})
    assert "character.user_name" in make_parcel(folder, REPO, kind="gguf").notes[-1]
    with pytest.raises(ConfigError, match="by the name of") as refused:
        make_parcel(folder, REPO, kind="gguf", is_public=True)
    assert "--set character.user_name=User" in refused.value.action
    write_label(folder, parity=GOOD, more={"names_user": False})
    assert make_parcel(folder, REPO, kind="gguf", is_public=True).notes == ()


@pytest.mark.parametrize(
    "name",
    [
        "chats.sqlite",
        "memory.sqlite",
        ".env",
        "data/train.json",
        "notes.txt",
        "train.jsonl",
        "pytorch_model.bin",
        "x.key",
    ],
)
def test_a_file_that_no_export_writes_is_refused_by_name(tmp_path, name) -> None:
    folder = merged(tmp_path / "merged")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("private")
    write_label(folder, parity=GOOD)  # even if the label knows it
    with pytest.raises(ConfigError, match="do not belong") as error:
        make_parcel(folder, REPO, kind="merged")
    assert name in str(error.value)


def test_a_link_is_refused(tmp_path) -> None:
    folder = merged(tmp_path / "merged")
    (folder / "LICENSE").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="LICENSE"):
        make_parcel(folder, REPO, kind="merged")


def test_a_key_in_a_card_is_refused_and_not_repeated(tmp_path) -> None:
    secret = "hf_" + "k" * 34
    folder = merged(tmp_path / "merged", card=f"{CARD}\n{secret}\n")
    with pytest.raises(ConfigError, match="looks like a secret") as error:
        make_parcel(folder, REPO, kind="merged")
    assert secret not in str(error.value)


@pytest.mark.parametrize(
    "parity",
    [
        {"mean_kl_nats": 3.0},
        {"mean_kl_nats": float("nan")},
        {"greedy_agreement": 0.1},
        {"ids_equal": False},
        {"stops": False},
    ],
)
def test_an_export_that_is_not_what_was_trained_is_refused(tmp_path, parity) -> None:
    folder = merged(tmp_path / "merged", parity=Parity(**{**asdict(GOOD), **parity}))
    with pytest.raises(EngineError, match="not what was trained"):
        make_parcel(folder, REPO, kind="merged")


def test_an_export_that_was_never_compared_is_refused(tmp_path) -> None:
    with pytest.raises(EngineError, match="not compared"):
        make_parcel(merged(tmp_path / "merged", parity=None), REPO, kind="merged")


def test_changed_missing_and_added_files_are_all_named(tmp_path) -> None:
    folder = merged(tmp_path / "merged")
    (folder / "config.json").write_text("{}")
    (folder / "model-00001-of-00002.safetensors").unlink()
    (folder / "vocab.json").write_text("{}")
    with pytest.raises(EngineError) as error:
        make_parcel(folder, REPO, kind="merged")
    for words in ("config.json was changed", "model-00001-of-00002.safetensors is missing", "vocab.json was added"):
        assert words in str(error.value)


def test_a_folder_without_a_label_is_refused(tmp_path) -> None:
    folder = merged(tmp_path / "merged")
    (folder / LABEL).unlink()
    with pytest.raises(ConfigError, match="no export of duologue"):
        make_parcel(folder, REPO, kind="merged")


@pytest.mark.parametrize("repo", ["lila", "ann/../x", "a/b/c", "", "ann/lila model", "ann/-x", "ann/a--b"])
def test_a_name_that_is_none_is_refused(tmp_path, repo) -> None:
    with pytest.raises(ConfigError, match="no name of a repository"):
        make_parcel(merged(tmp_path / "merged"), repo, kind="merged")


def test_weights_without_a_licence_may_be_private_but_not_public(tmp_path) -> None:
    folder = merged(tmp_path / "merged", card="---\nbase_model: someone/small\n---\n")
    assert "names no licence" in make_parcel(folder, REPO, kind="merged").notes[0]
    with pytest.raises(ConfigError, match="names no licence"):
        make_parcel(folder, REPO, kind="merged", is_public=True)


def test_a_model_made_of_llama_3_is_public_only_under_a_name_that_says_so(tmp_path) -> None:
    folder = merged(tmp_path / "merged", card="---\nbase_model: meta-llama/x\nlicense: llama3.1\n---\n")
    with pytest.raises(ConfigError, match="begins with 'Llama'"):
        make_parcel(folder, REPO, kind="merged", is_public=True)
    assert "NOTICE" in make_parcel(folder, "ann/Llama-Lila", kind="merged", is_public=True).notes[0]


@pytest.mark.parametrize(
    ("licence", "name"),
    [
        *[("llama2", name) for name in ("lila", "Llama-2-lila")],
        *[("llama3", name) for name in ("Llama-3-lila", "llama-3-lila", "Llama_3_lila", "Llama-3")],
        *[(f"llama3.{minor}", name) for minor in (1, 2, 3) for name in ("Llama-lila", f"Llama-3.{minor}-8B-lila")],
        *[("llama4", name) for name in ("Llama-lila", "Llama-4-Scout-lila")],
    ],
)
def test_a_public_model_may_bear_the_name_that_its_llama_licence_asks_for(tmp_path, licence, name) -> None:
    folder = merged(tmp_path / "merged", card=f"---\nbase_model: meta-llama/x\nlicense: {licence}\n---\n")
    parcel = make_parcel(folder, f"ann/{name}", kind="merged", is_public=True)
    assert not [note for note in parcel.notes if "begins with" in note]


@pytest.mark.parametrize(
    ("licence", "name", "prefix"),
    [
        *[("llama3", name, "Llama-3") for name in ("lila", "Llama-lila", "Meta-Llama-3-lila", "lila-Llama-3")],
        *[(f"llama{version}", "lila-Llama", "Llama") for version in ("3.1", "3.2", "3.3", "4")],
    ],
)
def test_a_public_model_may_bear_no_other_name(tmp_path, licence, name, prefix) -> None:
    folder = merged(tmp_path / "merged", card=f"---\nbase_model: meta-llama/x\nlicense: {licence}\n---\n")
    with pytest.raises(ConfigError, match=f"begins with '{prefix}'"):
        make_parcel(folder, f"ann/{name}", kind="merged", is_public=True)
    notes = make_parcel(folder, f"ann/{name}", kind="merged").notes
    assert [note for note in notes if f"begins with '{prefix}'" in note]


def test_an_adapter_whose_base_is_a_folder_of_this_machine_is_refused(tmp_path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/home/ann/models/x"}))
    (folder / "README.md").write_text(CARD)
    with pytest.raises(ConfigError, match="folder of this machine"):
        make_parcel(folder, REPO, kind="adapter")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/small"}))
    assert len(make_parcel(folder, REPO, kind="adapter").files) == 3
