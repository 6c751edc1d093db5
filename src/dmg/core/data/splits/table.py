"""Groups of sites as a table has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dmg.core.data.sites import match_sites
from dmg.core.data.splits.base import SplitResult, spatial_folds
from dmg.core.data.text_files import read_table
from dmg.errors import ConfigError
from dmg.registry import splits

if TYPE_CHECKING:
    from dmg.core.data.loaders.site_data import SiteData

PACKAGED = Path(__file__).parent


@splits.register("table")
def table(
    data: SiteData,
    folder: Path,
    *,
    path: str,
    column: str,
    site_column: str = "gage",
    groups: Sequence[Sequence[str | int]] = (),
    extent: Literal["PUB", "PUR"] = "PUB",
) -> SplitResult:
    """Hold out one group after the other, from a table of sites in any order.

    Parameters
    ----------
    data, folder
        The selected sites, and where ``folds.csv`` goes.
    path
        CSV; the name alone of a packaged one (``camels_us.csv``) will do.
    column
        Column with the groups, numbers or text.
    site_column
        Column with the ids.
    groups
        Values of the column that each fold holds out together; every value on its own if there are none.
    extent
        ``PUB`` or ``PUR``: what the groups are.

    Raises
    ------
    DataError
        If a site is not in the table.
    ConfigError
        If a site is in none of the groups, or in two of them.
    """
    file = PACKAGED / path if not Path(path).expanduser().is_file() and (PACKAGED / path).is_file() else path
    content = read_table(file, [site_column, column])
    rows = match_sites(data.sites, content[site_column], what="the table of groups", where=str(file))
    value_of = {site: _plain(content[column][row]) for site, row in zip(data.sites, rows.tolist(), strict=True)}
    folds = [[_plain(str(v)) for v in group] for group in groups] or [
        [v] for v in sorted(set(value_of.values()), key=_order)
    ]
    fold_of = {value: number for number, group in enumerate(folds) for value in group}
    if len(fold_of) < sum(map(len, folds)):
        raise ConfigError(f"a value of '{column}' is in two groups", where="experiment.splits")
    lost = sorted({value for value in value_of.values() if value not in fold_of})
    if lost:
        raise ConfigError(
            f"sites have '{column}' {', '.join(lost)}, which is in none of the groups",
            where=str(file),
            hint="add it to experiment.splits … groups, or leave these sites out (observations.subset_path)",
        )
    return spatial_folds(folder, {site: fold_of[value] for site, value in value_of.items()}, extent)


def _plain(text: str) -> str:
    """Return a value as text that is equal for ``01``, ``1`` and ``1.0``."""
    try:
        number = float(text)
    except ValueError:
        return text.strip()
    return str(int(number)) if number.is_integer() else str(number)


def _order(value: str) -> tuple[bool, float, str]:
    return (False, float(value), "") if value.lstrip("-").replace(".", "", 1).isdigit() else (True, 0.0, value)
