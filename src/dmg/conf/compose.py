"""From YAML files and overrides to one tree: Hydra's composition, with keys checked against the schema first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmg.conf.config import Config
from dmg.conf.explain import section_of, suggest_key
from dmg.conf.section import OpenSection, Section
from dmg.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig

PACKAGED = Path(__file__).parent


def compose(
    config_name: str = "default",
    config_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    *,
    root: type[Section] = Config,
    packaged: Path = PACKAGED,
) -> DictConfig:
    """Return the tree of a configuration file, its defaults list and its overrides; not validated yet.

    Parameters
    ----------
    config_name
        Name of a file of ``config_dir`` or of the packaged configurations, or the path of a YAML file.
    config_dir
        Folder of configuration files; its groups (``observations/…``) come before the packaged ones.
    overrides
        ``key=value`` in Hydra's grammar; a legacy spelling is as good as the present one.
    settings
        Values by dotted key, as another file holds them; the overrides come after them.
    root
        The schema of the file.
    packaged
        Folder of the packaged files of that schema.

    Raises
    ------
    ConfigError
        For a file that is not there, a key that the schema does not know, a value that cannot be read.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    folder, name = _locate(config_name, config_dir, packaged)
    groups, values = _split(overrides, settings or {}, [folder, packaged], root)
    search = [] if folder == packaged else [f'hydra.searchpath=["file://{packaged}"]']
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
            tree = hydra_compose(name, overrides=[*search, *groups])
        for key, value, delete in values:
            _apply(tree, key, value, delete, root)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error).strip(), where=str(folder / f"{name}.yaml")) from error
    except YAMLError as error:
        raise ConfigError(f"the file is no YAML: {error}", where=str(folder / f"{name}.yaml")) from error
    return tree


def check_key(key: str, root: type[Section] = Config) -> list[str]:
    """Return the parts of a dotted key of a schema in their present spelling.

    Raises
    ------
    ConfigError
        If the schema has no such key; the message names the closest one.
    """
    block: type[Section] | None = root
    parts: list[str] = []
    for part in key.split("."):
        if block is None:  # below a dict or an argument of a plug-in: anything goes
            parts.append(part)
            continue
        part = block.legacy.get(part, part)
        parts.append(part)
        field = block.model_fields.get(part)
        if field is None:
            if not issubclass(block, OpenSection):
                raise ConfigError(f"unknown key '{key}'", hint=suggest_key(key, root))
            block = None
            continue
        block = section_of(field.annotation)
        if block is None and len(parts) <= key.count(".") and "dict[" not in str(field.annotation):
            raise ConfigError(f"unknown key '{key}': '{'.'.join(parts)}' is a value, not a block")
    return parts


def _locate(config_name: str, config_dir: str | Path | None, packaged: Path) -> tuple[Path, str]:
    """Return folder and name of a configuration file."""
    given = Path(config_name).expanduser()
    if config_dir is None and (given.suffix in {".yaml", ".yml"} or len(given.parts) > 1):
        path = given if given.suffix else given.with_suffix(".yaml")
        if path.is_file():
            return path.resolve().parent, path.stem
        if len(given.parts) > 1:
            raise ConfigError(f"there is no file {path}", hint=f"paths start where you stand, in {Path.cwd()}")
    folder = packaged if config_dir is None else Path(config_dir).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}", where="--config-path")
    name = given.stem if given.suffix in {".yaml", ".yml"} else config_name
    if (folder / f"{name}.yaml").is_file():
        return folder, name
    if (packaged / f"{name}.yaml").is_file():
        return packaged, name
    # A file whose name begins with an underscore is a part of others.
    known = {file.stem for place in (folder, packaged) for file in place.glob("[!_]*.yaml")}
    raise ConfigError(f"there is no configuration '{name}' in {folder}", hint=did_you_mean(name, known))


def _split(
    overrides: Iterable[str], settings: Mapping[str, Any], folders: list[Path], root: type[Section]
) -> tuple[list[str], list[tuple[list[str], Any, bool]]]:
    """Separate choices of a file (``observations=camels_531``) from values, with their keys checked."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    found = [(key, value, False) for key, value in settings.items()]
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise ConfigError(f"'{text}' cannot be read", hint="write key=value, quoted for the shell") from error
        key = override.key_or_group
        if key.split(".")[0] == "hydra" or "/" in key:
            raise ConfigError(f"'{key}' has no effect here", hint="output_dir=… or exp_name=… chooses the folder")
        if override.is_sweep_override():
            raise ConfigError(f"'{text}' asks for several runs; one call is one run", hint="quote a list: key=[a,b]")
        found.append((key, override.value(), override.type is OverrideType.DEL))
    groups: dict[str, str] = {}
    values: list[tuple[list[str], Any, bool]] = []
    for key, value, delete in found:
        options = {file.stem for place in folders for file in (place / key).glob("*.yaml")}
        if options and isinstance(value, str):
            if value not in options:
                raise ConfigError(f"there is no file '{value}' for '{key}'", hint=did_you_mean(value, options))
            groups[key] = f"{key}={value}"
        else:
            values.append((check_key(key, root), value, delete))
    return list(groups.values()), values


def _apply(tree: DictConfig, parts: list[str], value: Any, delete: bool, root: type[Section]) -> None:
    """Set or delete one value, under the spelling that the file uses."""
    from omegaconf import DictConfig, OmegaConf

    node: Any = tree
    block: Any = root
    path: list[str] = []
    for depth, part in enumerate(parts):
        legacy = getattr(block, "legacy", {})
        spelled = [old for old, new in legacy.items() if new == part and isinstance(node, DictConfig) and old in node]
        path.append(spelled[0] if spelled else part)
        field = block.model_fields.get(part) if block is not None else None
        block = section_of(field.annotation) if field is not None else None
        inner = OmegaConf.select(tree, ".".join(path), throw_on_resolution_failure=False)
        if depth < len(parts) - 1 and not isinstance(inner, DictConfig):
            # A plug-in given by name alone becomes a block, so that it can take an argument.
            named = {"name": inner} if isinstance(inner, str) else {}
            OmegaConf.update(tree, ".".join(path), named, force_add=True)
            inner = OmegaConf.select(tree, ".".join(path))
        node = inner
    if delete:
        parent = OmegaConf.select(tree, ".".join(path[:-1])) if path[:-1] else tree
        OmegaConf.set_struct(tree, False)
        parent.pop(path[-1], None)
    else:
        # A block keeps the keys that were not given; a map, such as the dynamic parameters by model, is a value.
        OmegaConf.update(tree, ".".join(path), value, merge=block is not None, force_add=True)
