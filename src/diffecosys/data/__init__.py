"""Data of ecosystems; importing this package registers them."""

from diffecosys.data.sample_leaves import PLANT_TYPES, sample_leaves

__all__ = ["PLANT_TYPES", "sample_leaves"]
