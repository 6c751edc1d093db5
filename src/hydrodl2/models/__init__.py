"""Process models of hydrology; importing this package registers them."""

from hydrodl2.models.hbv import Hbv

__all__ = ["Hbv"]
