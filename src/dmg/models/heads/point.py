"""One number for every target: a network as it is."""

from __future__ import annotations

from dmg.models.heads.base import Head


class PointHead(Head):
    """The outputs of the network are the targets themselves."""

    def __init__(self) -> None:
        super().__init__()
