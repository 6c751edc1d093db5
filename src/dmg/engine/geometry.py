"""How the components of sites fill the lanes of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

# Two AVX-512 registers: while one waits for a long chain of operations, the other goes on.
LANES = {torch.float32: 32, torch.float64: 8}


@dataclass(frozen=True)
class Geometry:
    """Blocks of ``lanes`` elements such that no site straddles a block unless it fills whole ones.

    The components of a site are padded to a power of two, or to whole blocks, and the sites to whole blocks; what is
    padded repeats the last component or site and is dropped from every result.

    Parameters
    ----------
    sites
        Number B of sites.
    components
        Number M of components.
    lanes
        Entries of a vector.
    """

    sites: int
    components: int
    lanes: int

    @cached_property
    def width(self) -> int:
        """Components of a site with padding."""
        if self.components > self.lanes:
            return -(-self.components // self.lanes) * self.lanes
        return 1 << (self.components - 1).bit_length()

    @cached_property
    def group(self) -> int:
        """Sites per block."""
        return max(1, self.lanes // self.width)

    @cached_property
    def parts(self) -> int:
        """Blocks per site."""
        return max(1, self.width // self.lanes)

    @cached_property
    def padded_sites(self) -> int:
        """Sites with padding."""
        return -(-self.sites // self.group) * self.group

    @cached_property
    def elements(self) -> int:
        """Number of lanes of all blocks."""
        return self.padded_sites * self.width

    @cached_property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.elements // self.lanes

    @cached_property
    def pieces(self) -> int:
        """Loads that fill a block with [..., site, M] as it lies in memory; 0 if it must be copied first."""
        return self.group if self.exact and self.width >= 4 else 0

    @cached_property
    def apart(self) -> bool:
        """Whether the forcings of the sites of a block are read where they lie: few loads cost less than a copy."""
        return self.group <= 4

    @cached_property
    def exact(self) -> bool:
        """Whether nothing is padded within a site."""
        return self.width == self.components
