"""Atomic writing: complete or not there, whatever goes wrong."""

import errno
import os
from pathlib import Path

import pytest

from dmg.core.utils.atomic import atomic_write, write_text
from dmg.errors import RunError


def entries(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_file_appears_only_when_complete(tmp_path):
    target = tmp_path / "deep" / "metrics.json"
    with atomic_write(target) as tmp:
        assert tmp.suffix == ".json"
        assert tmp != target
        tmp.write_text("{}")
        assert not target.exists()
    assert target.read_text() == "{}"
    assert entries(target.parent) == ["metrics.json"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_failure_keeps_what_was_there(tmp_path, failure):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted_write():
        with atomic_write(target) as tmp:
            tmp.write_text("half")
            raise failure

    with pytest.raises(failure):
        interrupted_write()
    assert target.read_text() == "old"
    assert entries(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_full_disk_is_one_clear_error(tmp_path, monkeypatch, call):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError, match="disk is full") as caught:
        write_text(target, "new")
    assert str(target) in str(caught.value)
    assert target.read_text() == "old"
    assert entries(tmp_path) == ["a.txt"]


def test_directory_replaces_directory(tmp_path):
    target = tmp_path / "store.zarr"
    for text in ("one", "two"):
        with atomic_write(target) as tmp:
            (tmp / "sub").mkdir(parents=True)
            (tmp / "sub" / text).write_text(text)
    assert entries(tmp_path) == ["store.zarr"]
    assert entries(target / "sub") == ["two"]


def test_what_a_killed_writer_left_is_removed_and_that_of_a_living_one_kept(tmp_path):
    abandoned = tmp_path / ".writing-abandoned"
    abandoned.mkdir()
    (abandoned / "a.txt").write_text("half")
    os.utime(abandoned, (0, 0))
    with atomic_write(tmp_path / "a.txt") as outer:
        outer.write_text("whole")
        os.utime(outer.parent, (0, 0))
        write_text(tmp_path / "b.txt", "beside")
        assert outer.exists()
        assert not abandoned.exists()
    assert entries(tmp_path) == ["a.txt", "b.txt"]


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        pass
    assert entries(tmp_path) == []


def test_file_has_the_permissions_of_the_umask(tmp_path):
    write_text(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
