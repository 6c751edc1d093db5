"""docs/nextgen.md says what the schemas and the vocabulary say, and its configurations are valid."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dmg.bmi.config import BmiConfig, Catchment, Derived, Exchanged, read_bmi_config
from dmg.bmi.hosted_derivation import DerivationConfig
from dmg.conf.docs import block_table
from dmg.registry import derivations
from hydrodl2.data.csdms_names import CSDMS

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "example" / "nextgen"
PAGE = (ROOT / "docs" / "nextgen.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", [BmiConfig, Catchment, Exchanged, Derived, DerivationConfig])
def test_tables_of_keys(block):
    assert block_table(block) in PAGE, f"the table of {block.__name__} on the page is another"


def test_table_of_names():
    for variable, pairs in CSDMS.csdms_names.items():
        for name, unit in pairs:
            assert f"| `{variable}` | `{name}` | {unit} |\n" in PAGE


def test_configurations_of_the_page_are_valid():
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)]
    assert len(blocks) == 4
    BmiConfig.model_validate(blocks[0])
    assert DerivationConfig.model_validate(blocks[1]).derive.method in derivations
    for part in blocks[2:]:
        assert BmiConfig.model_validate(blocks[0] | part).derive["pet"].method in derivations


def test_realizations_name_classes_and_configurations_that_exist():
    files = {f"pet_{name}.yaml" for name in ("cat-1", "five")} | {f"dmg_{name}.yaml" for name in ("cat-1", "five")}
    assert files <= {path.name for path in (EXAMPLE / "bmi").iterdir()}
    for path in (EXAMPLE / "bmi").glob("*.yaml"):
        schema = BmiConfig if path.name.startswith("dmg") else DerivationConfig
        assert len(read_bmi_config(path, schema).catchments) == (5 if "five" in path.name else 1)
    for name in ("one", "five"):
        tree = json.loads((EXAMPLE / f"realization_{name}.json").read_text())
        block = tree["catchments"]["cat-1"] if name == "one" else tree["global"]
        params = block["formulations"][0]["params"]
        for module in params["modules"]:
            package, _, kind = module["params"]["python_type"].rpartition(".")
            assert hasattr(import_module(package), kind)
            assert (EXAMPLE / module["params"]["init_config"].replace("{{id}}", "cat-2")).is_file()
        assert params["main_output_variable"] in params["output_variables"]
