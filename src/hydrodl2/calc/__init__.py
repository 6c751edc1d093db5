"""Hydrological calculations: day length, potential evapotranspiration, water years, return periods."""
