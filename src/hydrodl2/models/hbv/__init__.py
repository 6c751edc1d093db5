"""The HBV family."""

from hydrodl2.models.hbv.hbv import Hbv

__all__ = ["Hbv"]
