"""Statistics of normalisation that a training left: found again, and checked against what they are wanted for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmg.core.data.normalisation import FILE_NAME, Normalisation, carried_statistics
from dmg.errors import DataError

if TYPE_CHECKING:
    from dmg.conf.config import Config

logger = logging.getLogger(__name__)


def trained_statistics(
    config: Config, names: Sequence[str], log: set[str], units: Mapping[str, str | None], about: Mapping[str, Any]
) -> Normalisation | None:
    """Return the statistics of the trained model that a configuration uses or continues; None if they are to be taken.

    Those in ``pretrained_model_dir``, or that its weights carry, have to fit. Those that a training finds in its own
    ``model_dir`` count if they are of the same data.

    Parameters
    ----------
    config
        The configuration.
    names
        Variables that are normalised.
    log
        Those of them on the logarithmic scale.
    units
        Unit of every variable now.
    about
        What identifies the training data.

    Raises
    ------
    DataError
        If they do not fit, or a trained model has none.
    """
    for folder, own in ((config.pretrained_model_dir, False), (config.model_dir, "train" in config.mode)):
        path = Path(folder) / FILE_NAME if folder else None
        carried = None if path is None or path.is_file() or own else carried_statistics(folder)
        if carried:
            found, path = Normalisation.parse(carried[0], log, where=str(carried[1])), carried[1]
        elif path is not None and path.is_file():
            found = Normalisation.load(path, log=log)
        else:
            continue
        problems = found.lacks(names, log)
        changed = found.changed_units({name: units.get(name) for name in names})
        problems += [f"'{name}' is now in {unit}" for name, unit in changed.items()]
        if own and (problems or found.about != about):
            logger.info("statistics in %s are of other data or variables and are taken anew", path)
            continue
        if problems:
            raise DataError(
                "the statistics of the trained model do not fit the configuration: " + "; ".join(problems),
                where=str(path),
                hint="use the variables and units that the model was trained with",
            )
        return found
    if config.pretrained_model_dir:
        raise DataError(
            f"there is no {FILE_NAME} with the trained weights, which mean nothing without it",
            where=config.pretrained_model_dir,
            hint="copy it from the folder 'model' of the training",
        )
    return None
