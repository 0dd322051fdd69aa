"""Checkpoints: whole or not there, checked before they are used, and the last good one is never given up."""

import os
import resource
import shutil
from pathlib import Path

import pytest
import torch

from duologue.engine.hf import checkpoint as module
from duologue.engine.hf.checkpoint import Checkpoint, load_newest, require_disk, save_checkpoint
from duologue.errors import EngineError

JOB = {"seed": "1", "learning_rate": "0.1"}


def made(step, *, size=8, job=JOB):
    tensors = {"x": torch.full((size,), float(step))}
    return Checkpoint(step, job, tensors, tensors, tensors, progress={"losses": [0.1 + 0.2, step]})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back_with_types_and_numbers(tmp_path):
    adapter = {"a": torch.arange(5, dtype=torch.bfloat16), "b": torch.tensor([[1, 255]], dtype=torch.uint8)}
    shared = torch.ones(3)
    saved = Checkpoint(
        7, JOB, adapter, {"0.m": shared, "1.m": shared}, {"cpu": torch.get_rng_state()}, progress={"loss": 0.1 + 0.2}
    )
    save_checkpoint(saved, tmp_path, keep=1)
    found = load_newest(tmp_path, job=JOB, on_skip=pytest.fail)
    assert found.step == 7 and found.progress == {"loss": 0.1 + 0.2} and found.best == {}
    for part in ("adapter", "optimizer", "random"):
        for name, tensor in getattr(saved, part).items():
            held = getattr(found, part)[name]
            assert held.dtype == tensor.dtype and torch.equal(held, tensor)


def test_a_save_that_fails_at_any_file_operation_says_so_and_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    """The k-th operation fails, for every k until the save goes through."""
    refusals = []
    for k in range(1, 100):
        folder = tmp_path / str(k)
        for step in (1, 2):
            save_checkpoint(made(step), folder, keep=2)
        with monkeypatch.context() as patched:
            has_failed = fail_at_operation(k, patched)
            refusal = refused(lambda folder=folder: save_checkpoint(made(3), folder, keep=2))
        if not has_failed():
            break
        refusals += [refusal] if refusal else []
        assert newest(folder) in ((2, 3) if refusal else (3,))
        save_checkpoint(made(4), folder, keep=2)
        assert newest(folder) == 4
        assert not [name for name in names(folder) if name.startswith(".")]
    assert len(refusals) > 12, "operations were counted"
    assert all("the checkpoint of step 3 could not be written (" in text for text in refusals)
    assert all("No space left on device" in text and "is whole" in text for text in refusals)
    assert names(folder) == ["step-00000002", "step-00000003"]


def refused(work):
    """The words of the error, or nothing."""
    try:
        work()
    except EngineError as error:
        return error.found
    return ""


def newest(folder):
    found = load_newest(folder, job=JOB, on_skip=pytest.fail)
    assert float(found.adapter["x"][0]) == found.step == found.progress["losses"][1]
    return found.step


def fail_at_operation(k, patched):
    """Make the k-th file operation that a save needs fail as on a full disk; tell whether it came to that."""
    count = 0

    def failing(real):
        def operation(*arguments, **settings):
            nonlocal count
            count += 1
            if count == k:
                raise OSError(28, "No space left on device")
            return real(*arguments, **settings)

        return operation

    patched.setattr(os, "fsync", failing(os.fsync))
    patched.setattr(os, "replace", failing(os.replace))
    patched.setattr(os, "open", failing(os.open))
    patched.setattr(module, "save_file", failing(module.save_file))
    patched.setattr(Path, "mkdir", failing(Path.mkdir))
    patched.setattr(Path, "write_text", failing(Path.write_text))
    return lambda: count >= k


@pytest.mark.parametrize("place", [0, -1, 200])
@pytest.mark.parametrize("name", ["adapter", "optimizer", "random"])
def test_one_wrong_bit_anywhere_makes_a_checkpoint_passed_over_with_a_word(tmp_path, name, place):
    for step in (1, 2):
        save_checkpoint(made(step, size=100), tmp_path, keep=2)
    file = tmp_path / "step-00000002" / f"{name}.safetensors"
    raw = bytearray(file.read_bytes())
    raw[place] ^= 1
    file.write_bytes(raw)
    said = []
    assert load_newest(tmp_path, job=JOB, on_skip=said.append).step == 1
    assert said == [f"checkpoint step-00000002 is damaged ({name}.safetensors) and is passed over"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "optimizer.safetensors").unlink(),
        lambda folder: shutil.rmtree(folder) or folder.mkdir(),
    ],
)
def test_an_incomplete_checkpoint_is_passed_over_and_leftovers_are_removed(tmp_path, damage):
    for step in (1, 2):
        save_checkpoint(made(step), tmp_path, keep=2)
    damage(tmp_path / "step-00000002")
    (tmp_path / ".partial-3").mkdir()
    said = []
    assert load_newest(tmp_path, job=JOB, on_skip=said.append).step == 1
    assert "incomplete" in said[0]
    assert not (tmp_path / ".partial-3").exists()


def test_a_damaged_newer_checkpoint_does_not_push_out_the_good_one(tmp_path):
    for step in (2, 4):
        save_checkpoint(made(step), tmp_path, keep=2)
    (tmp_path / "step-00000004" / "manifest.json").unlink()
    assert load_newest(tmp_path, job=JOB, on_skip=lambda _: None).step == 2
    save_checkpoint(made(3), tmp_path, keep=1)
    assert names(tmp_path) == ["step-00000003"]
    assert newest(tmp_path) == 3


def test_a_damaged_checkpoint_of_the_same_step_is_written_anew_and_a_whole_one_is_left(tmp_path):
    path = save_checkpoint(made(2), tmp_path, keep=2)
    before = (path / "manifest.json").stat().st_mtime_ns
    save_checkpoint(made(2), tmp_path, keep=2)
    assert (path / "manifest.json").stat().st_mtime_ns == before
    (path / "adapter.safetensors").write_bytes(b"short")
    save_checkpoint(made(2), tmp_path, keep=2)
    assert newest(tmp_path) == 2


def test_a_checkpoint_of_another_job_is_refused_and_the_difference_shown(tmp_path):
    save_checkpoint(made(1), tmp_path, keep=1)
    with pytest.raises(EngineError, match=r"another configuration or other data \(learning_rate: 0.1 -> 0.2\)"):
        load_newest(tmp_path, job={**JOB, "learning_rate": "0.2"}, on_skip=print)


def test_a_file_size_limit_keeps_the_last_checkpoint_whole(tmp_path):
    save_checkpoint(made(1), tmp_path, keep=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(EngineError, match="the checkpoint of step 1 is whole"):
            save_checkpoint(made(2, size=300_000), tmp_path, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert newest(tmp_path) == 1
    assert names(tmp_path) == ["step-00000001"]


def test_a_full_disk_is_seen_beforehand_and_older_checkpoints_make_room_but_never_the_last(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        save_checkpoint(made(step), tmp_path, keep=3)
    one = sum(file.stat().st_size for file in (tmp_path / "step-00000001").iterdir())

    def usage(_folder, *, room):
        lying = sum(file.stat().st_size for file in tmp_path.glob("step-*/*"))
        return shutil._ntuple_diskusage(room, lying, max(0, room - lying))

    needed = made(4).num_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(folder, room=one + needed))
    save_checkpoint(made(4), tmp_path, keep=3)
    assert names(tmp_path) == ["step-00000003", "step-00000004"], "1 and 2 made room before anything was written"
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(folder, room=needed))
    with pytest.raises(EngineError, match=r"MiB are free\); the checkpoint of step 4 is whole"):
        save_checkpoint(made(5), tmp_path, keep=3)
    assert newest(tmp_path) == 4


def test_the_disk_is_checked_before_the_first_step(tmp_path, monkeypatch):
    folder = tmp_path / "run" / "checkpoints"
    gib = 2**30
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100 * gib, 0, 10 * gib))
    assert require_disk(folder, checkpoint_bytes=2 * gib, adapter_bytes=gib, keep=2) == (7 * gib, 10 * gib)
    with pytest.raises(EngineError, match=r"10.00 GiB are free .* takes 5.00 GiB; expected at least 11.00 GiB"):
        require_disk(folder, checkpoint_bytes=5 * gib, adapter_bytes=gib, keep=2)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a small disk, which needs root")
def test_a_disk_that_is_really_full_keeps_the_last_checkpoint_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=4m tmpfs {disk} 2>/dev/null") != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        folder = disk / "checkpoints"
        save_checkpoint(made(1, size=50_000), folder, keep=2)
        (disk / "something else").write_bytes(bytes(2_600_000))
        with pytest.raises(EngineError, match="the checkpoint of step 1 is whole"):
            save_checkpoint(made(2, size=200_000), folder, keep=2)
        assert newest(folder) == 1
        (disk / "something else").unlink()
        save_checkpoint(made(2, size=50_000), folder, keep=2)
        assert newest(folder) == 2
    finally:
        os.system(f"umount {disk}")
