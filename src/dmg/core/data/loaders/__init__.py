"""Loaders: from a canonical store to batches."""

from dmg.core.data.loaders.base import BaseLoader
from dmg.core.data.loaders.hydro_loader import HydroLoader
from dmg.core.data.loaders.ms_hydro_loader import MsHydroLoader
from dmg.core.data.loaders.mts_hydro_loader import MtsHydroLoader
from dmg.core.data.loaders.table_loader import TableLoader

__all__ = ["BaseLoader", "HydroLoader", "MsHydroLoader", "MtsHydroLoader", "TableLoader"]
