"""The HBV family."""

from hydrodl2.models.hbv.hbv import Hbv
from hydrodl2.models.hbv.hbv_1_1p import Hbv_1_1p
from hydrodl2.models.hbv.hbv_2 import Hbv_2

__all__ = ["Hbv", "Hbv_1_1p", "Hbv_2"]
