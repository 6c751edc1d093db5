"""Losses. Importing this package registers them in ``dmg.registry.losses``."""

from dmg.models.criterion.base import BaseCriterion
from dmg.models.criterion.distribution import DistributionLoss
from dmg.models.criterion.kge_batch import KgeBatchLoss
from dmg.models.criterion.kge_norm_batch import KgeNormBatchLoss
from dmg.models.criterion.load import load_criterion
from dmg.models.criterion.mse import MSELoss, MseLoss
from dmg.models.criterion.normal_nll import NormalNllLoss
from dmg.models.criterion.nse_batch import NseBatchLoss
from dmg.models.criterion.nse_log_batch import NseLogBatchLoss
from dmg.models.criterion.nse_sqrt_batch import NseSqrtBatchLoss
from dmg.models.criterion.nse_trend_batch import NseTrendBatchLoss
from dmg.models.criterion.pinball import PinballLoss
from dmg.models.criterion.range_bound import RangeBoundLoss
from dmg.models.criterion.rmse import RmseLoss
from dmg.models.criterion.rmse_comb import RmseCombLoss
from dmg.models.criterion.scaled_rmse import ScaledRmseLoss

__all__ = [
    "BaseCriterion",
    "DistributionLoss",
    "KgeBatchLoss",
    "KgeNormBatchLoss",
    "MSELoss",
    "MseLoss",
    "NormalNllLoss",
    "NseBatchLoss",
    "NseLogBatchLoss",
    "NseSqrtBatchLoss",
    "NseTrendBatchLoss",
    "PinballLoss",
    "RangeBoundLoss",
    "RmseCombLoss",
    "RmseLoss",
    "ScaledRmseLoss",
    "load_criterion",
]
