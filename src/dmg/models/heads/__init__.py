"""Heads: what a network alone says of a target, one number or a distribution.

Importing this package registers them in ``dmg.registry.heads``.
"""

from dmg.models.heads.base import Head
from dmg.models.heads.load import make_head
from dmg.models.heads.normal import NormalHead
from dmg.models.heads.point import PointHead
from dmg.models.heads.quantiles import QuantileHead

__all__ = ["Head", "NormalHead", "PointHead", "QuantileHead", "make_head"]
