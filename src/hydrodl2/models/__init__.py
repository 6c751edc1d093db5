"""Process models of hydrology; importing this package registers them."""

from hydrodl2.models.gr4j import Gr4j
from hydrodl2.models.hbv import Hbv, Hbv_1_1p, Hbv_2, Hbv_2_1_hourly, Hbv_2_hourly, Hbv_2_mts, HbvAdj
from hydrodl2.models.hymod import Hymod

__all__ = ["Gr4j", "Hbv", "HbvAdj", "Hbv_1_1p", "Hbv_2", "Hbv_2_1_hourly", "Hbv_2_hourly", "Hbv_2_mts", "Hymod"]
