"""Plug-ins are found by name; one that cannot be imported says so and hides no other."""

import pytest

from dmg.errors import UnknownNameError, did_you_mean
from dmg.registry import Registry


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A registry whose entry points are one that fails to import, of the distribution ``acme``, and one that works."""
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dmg.gadgets]\na_broken = acme_broken\nworks = acme_works:Works\n")
    (tmp_path / "acme_broken.py").write_text("import a_library_nobody_has\n")
    (tmp_path / "acme_works.py").write_text("class Works: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Registry("gadgets")


def test_a_broken_plug_in_is_named_every_time(broken):
    for _ in range(2):
        with pytest.raises(UnknownNameError) as caught:
            broken.get("TheirGadget")
        text = str(caught.value)
        assert "unknown name 'TheirGadget' among the gadgets" in text
        assert "'a_broken' (acme_broken) of the distribution 'acme' cannot be imported" in text
        assert "ModuleNotFoundError: No module named 'a_library_nobody_has'" in text
        assert "repair or uninstall" in text


def test_a_broken_plug_in_hides_no_other(broken):
    assert broken.get("works").__name__ == "Works"
    assert broken.names() == ["works"]
    assert "TheirGadget" not in broken


def test_two_plug_ins_of_one_name_are_refused():
    registry = Registry("gadgets")
    registry.register("one", "alias")(dict)
    with pytest.raises(ValueError, match="'one' is registered already"):
        registry.register("one")(list)
    with pytest.raises(ValueError, match="alias 'alias' belongs to 'one'"):
        registry.register("two", "alias")(list)


def test_a_suggestion_is_the_name_rather_than_its_alias():
    registry = Registry("gadgets")
    registry.register("Hbv", "hbv")(dict)
    with pytest.raises(UnknownNameError, match=r"did you mean 'Hbv'\? known: Hbv$"):
        registry.get("Hvb")
    assert registry.get("hbv") is dict


def test_a_hint_lists_a_few_of_many_names():
    names = [f"unit{i:06d}" for i in range(500)]
    assert did_you_mean("x", names).endswith("unit000019 and 480 more")
    assert did_you_mean("x", names[:2]) == "known: unit000000, unit000001"
