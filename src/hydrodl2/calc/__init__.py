"""Hydrological calculations: day length, potential evapotranspiration."""
