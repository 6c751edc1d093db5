"""Names of CAMELS: units of its attributes, spellings, numbers of its categories.

Source: Addor et al. (2017), doi:10.5194/hess-21-5293-2017, tables 1 to 6; IGBP and GLiM classes as they are spelled
in the files ``camels_vege.txt`` and ``camels_geol.txt``.
"""

from __future__ import annotations

from dmg.core.data.vocabulary import Vocabulary
from dmg.registry import vocabularies

_BY_UNIT = {
    "mm d-1": "p_mean pet_mean q_mean q5 q95",
    "d": "high_prec_dur low_prec_dur high_q_dur low_q_dur",
    "d yr-1": "high_prec_freq low_prec_freq high_q_freq low_q_freq",
    "1": "p_seasonality frac_snow aridity runoff_ratio slope_fdc baseflow_index stream_elas frac_forest lai_max "
    "lai_diff gvf_max gvf_diff dom_land_cover_frac soil_porosity glim_1st_class_frac glim_2nd_class_frac "
    "carbonate_rocks_frac geol_porosity huc_02 zero_q_freq",
    "m": "elev_mean root_depth_50 root_depth_99 soil_depth_pelletier soil_depth_statsgo max_water_content",
    "m km-1": "slope_mean",
    "km2": "area_gages2 area_geospa_fabric forcing_header_area",
    "cm h-1": "soil_conductivity",
    "%": "sand_frac silt_frac clay_frac water_frac organic_frac other_frac",
    "degree": "gauge_lat gauge_lon",
}
# geol_permeability is the decimal logarithm of m2 and hfd_mean a day of the year: numbers without a unit to convert.
_UNITS = {name: unit for unit, names in _BY_UNIT.items() for name in names.split()} | {
    "geol_permeability": "1",
    "hfd_mean": "1",
}

_LAND_COVER = (
    "Evergreen Needleleaf Forest",
    "Evergreen Broadleaf Forest",
    "Deciduous Needleleaf Forest",
    "Deciduous Broadleaf Forest",
    "Mixed Forests",
    "Closed Shrublands",
    "Open Shrublands",
    "Woody Savannas",
    "Savannas",
    "Grasslands",
    "Permanent Wetlands",
    "Croplands",
    "Urban and Built-Up",
    "cropland/natural vegetation mosaic",
    "Snow and Ice",
    "Barren or Sparsely Vegetated",
)
_GEOLOGY = (
    "Unconsolidated sediments",
    "Basic volcanic rocks",
    "Siliciclastic sedimentary rocks",
    "Basic plutonic rocks",
    "Mixed sedimentary rocks",
    "Carbonate sedimentary rocks",
    "Acid volcanic rocks",
    "Metamorphics",
    "Acid plutonic rocks",
    "Intermediate volcanic rocks",
    "Water bodies",
    "Pyroclastics",
    "Intermediate plutonic rocks",
    "Evaporites",
    "Ice and glaciers",
)
_SEASONS = {"djf": 0, "mam": 1, "jja": 2, "son": 3}
_GEOLOGY_NUMBERS = {label: number for number, label in enumerate(_GEOLOGY, start=1)}

CAMELS = Vocabulary(
    units=_UNITS,
    aliases={"geol_porostiy": "geol_porosity"},
    categories={
        "dom_land_cover": {label: number for number, label in enumerate(_LAND_COVER, start=1)},
        "geol_1st_class": _GEOLOGY_NUMBERS,
        # No second class is a class of its own: the label is missing exactly where its share of the area is 0.
        "geol_2nd_class": {"": 0, **_GEOLOGY_NUMBERS},
        "high_prec_timing": _SEASONS,
        "low_prec_timing": _SEASONS,
    },
    nonnegative=frozenset({"prcp", "pet", "srad", "vp", "dayl", "swe"}),
)
vocabularies.register("camels")(CAMELS)
