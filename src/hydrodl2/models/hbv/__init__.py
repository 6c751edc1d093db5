"""The HBV family."""

from hydrodl2.models.hbv.hbv import Hbv
from hydrodl2.models.hbv.hbv_1_1p import Hbv_1_1p
from hydrodl2.models.hbv.hbv_2 import Hbv_2
from hydrodl2.models.hbv.hbv_2_1_hourly import Hbv_2_1_hourly
from hydrodl2.models.hbv.hbv_2_hourly import Hbv_2_hourly
from hydrodl2.models.hbv.hbv_2_mts import Hbv_2_mts
from hydrodl2.models.hbv.hbv_adj import HbvAdj

__all__ = ["Hbv", "HbvAdj", "Hbv_1_1p", "Hbv_2", "Hbv_2_1_hourly", "Hbv_2_hourly", "Hbv_2_mts"]
