"""The configuration block ``observations``: where the data are and what they are called."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from dmg.conf.model import Names, Unit
from dmg.conf.period import Date
from dmg.conf.section import Section


class Sample(Section):
    """Settings of the embedded sample's generator."""

    sites: PositiveInt = Field(100, description="Number of sites.")
    start: Date = Field("1988/10/01", description="First day.")
    end: Date = Field("2008/12/31", description="Last day.")
    seed: NonNegativeInt = Field(0, description="Seed of the generator.")
    noise: NonNegativeFloat = Field(0.05, description="Relative error of the observed flow.")
    gaps: bool = Field(True, description="Leave gaps in the observed flow.")


GEOGRAPHY = {
    "ac_all": "upstream_area_name",
    "areas": "subbasin_area_name",
    "elev_all": "elevation_name",
    "reach_length": "reach_length_name",
    "reach_slope": "reach_slope_name",
}
"""Names in a batch of what is known of a site and of its reach, and the keys that say which attributes they are."""


class Observations(Section):
    """The data set: store, period, names, units."""

    name: str = Field(
        "sample",
        description="Name of the data set; `sample` and `sample_hourly` are generated and need no file. That of "
        "`data_path` if it is not given.",
    )
    data_path: str | None = Field(
        None,
        description="Canonical store, NetCDF or Zarr; `dmg data netcdf` (or table, camels-us, pickle) writes one.",
    )
    start_time: Date | None = Field(None, description="First day of the record; null for the store's own.")
    end_time: Date | None = Field(None, description="Last day of the record; null for the store's own.")
    all_forcings: Names = Field([], description="Forcings of the data set; empty for whatever the store has.")
    all_attributes: Names = Field([], description="Attributes of the data set; empty for whatever the store has.")
    gage_info: str | None = Field(None, description="Array file of site ids in the order of the store.")
    subset_path: str | None = Field(None, description="JSON list or text file of the site ids to use; null for all.")
    gage_split_file: str | None = Field(
        None, description="CSV of a spatial test: `gage` and `PUB_ID` (PUB) or `huc` (PUR) of every site."
    )
    area_name: str | None = Field(None, description="Attribute with the area of a site in km².")
    subbasin_id_name: str | None = Field(
        None,
        description="Array of the ids in a Zarr group of the published layout of units (forcings [unit, day] beside "
        "it, attributes in the group `attrs`); start_time is its first day.",
    )
    upstream_area_name: str | None = Field(
        None, description="Attribute with the area in km² that drains through a site, for HBV 2.x (`ac_all`)."
    )
    subbasin_area_name: str | None = Field(
        None, description="Attribute with the area in km² of a unit itself, for HBV 2.x (`areas`)."
    )
    elevation_name: str | None = Field(
        None, description="Attribute with the mean elevation in m, for HBV 2.x (`elev_all`)."
    )
    reach_length_name: str | None = Field(
        None, description="Attribute with the length in m of the reach of a unit, for the router MuskingumCunge."
    )
    reach_slope_name: str | None = Field(None, description="Attribute with the slope of the bed of that reach.")
    topology_path: str | None = Field(
        None,
        description="River network, for MsHydroLoader and MtsHydroLoader: JSON, {nodes, edges: [[unit, next "
        "downstream], …], gage_hf: {gauge: unit}}; a GeoPackage (hydrofabric: flowpaths and nexus); or NetCDF with "
        "link, to and gages, or with tosegment. Null where every site is a gauge of its own.",
    )
    gauge_path: str | None = Field(
        None,
        description="Canonical store of the observations at gauges, for MsHydroLoader; null where they are in the "
        "store of the units, at those where gauges stand.",
    )
    prcp_mean_name: str | None = Field(None, description="Attribute with the mean precipitation of a site in mm/d.")
    target_unit: Unit = Field("ft3/s", description="Unit of streamflow where the store names none.")
    tables: dict[str, str] = Field(
        {},
        description="TableLoader: tables of samples by name, {leaves: leaves.csv}; CSV, Parquet or NetCDF, one below "
        "the other. A column that a table lacks is missing there; `sample` has ids; `Tleaf (degC)` names a unit.",
    )
    lookups: dict[str, str] = Field(
        {},
        description="TableLoader: tables of what is known of categories, {PFT: plant_types.csv}, by column.",
    )
    group: str | None = Field(
        None,
        description="TableLoader: column by whose values samples are scored and held out; null for every sample by "
        "itself.",
    )
    attribute_fill: Literal["error", "train_mean"] = Field(
        "error", description="What a missing attribute is: an error, or the mean of the training sites."
    )
    max_memory: Annotated[float, Field(gt=0)] | None = Field(
        4.0,
        description="Gigabytes that a dataset may take; a larger one stays in its store, is read by block while it is "
        "trained on and tested with, and the blocks last used take so much. Null reads everything.",
    )
    max_gap: NonNegativeInt = Field(
        3, description="Gaps of a forcing of at most so many steps are filled linearly; longer ones are an error."
    )
    sample: Sample | None = Field(
        None, description="Settings of the generator, where `name` is `sample` or `sample_hourly`."
    )

    @model_validator(mode="before")
    @classmethod
    def _named_as_its_file(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("data_path") and not values.get("name"):
            return {**values, "name": PurePath(values["data_path"]).stem}
        return values
