"""Process models of ecosystems; importing this package registers them."""

from diffecosys.models.leaf_biochemistry import LeafBiochemistry
from diffecosys.models.leaf_photosynthesis import LeafPhotosynthesis

__all__ = ["LeafBiochemistry", "LeafPhotosynthesis"]
