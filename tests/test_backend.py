"""Which device has kernels, and where compiled code is kept."""

from pathlib import Path

import pytest
import torch

from dmg.engine import backend
from dmg.engine.cache import cache_folder, remember


@pytest.mark.parametrize(("device", "package"), [("cpu", "llvmlite"), ("cuda", "triton")])
def test_missing_package_is_named(device, package, monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: object())
    assert backend.reason_against(torch.device(device)) is None
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    assert package in backend.reason_against(torch.device(device))


def test_other_devices_have_no_kernel():
    assert "mps" in backend.reason_against(torch.device("mps"))


def test_cache_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("DMG_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DMG_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().is_relative_to(tmp_path)


def test_cache_that_cannot_be_written_is_no_error(tmp_path):
    assert remember(tmp_path / "new" / "code", b"code")
    assert (tmp_path / "new" / "code").read_bytes() == b"code"
    blocked: Path = tmp_path / "file"
    blocked.write_text("no folder")
    assert not remember(blocked / "code", b"code")
