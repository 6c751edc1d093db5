"""Tensors of a model in the layout of a kernel, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmg.engine.geometry import Geometry


def pad(values: Tensor, geometry: Geometry) -> Tensor:
    """Repeat the last component and the last site of [..., B, M] until blocks are full."""
    if not geometry.exact:
        missing = geometry.width - geometry.components
        values = torch.cat([values, values[..., -1:].expand(*values.shape[:-1], missing)], dim=-1)
    return pad_sites(values, geometry, -2)


def pad_sites(values: Tensor, geometry: Geometry, dim: int) -> Tensor:
    """Repeat the last site along a dimension until blocks are full."""
    missing = geometry.padded_sites - geometry.sites
    if not missing:
        return values
    last = values.narrow(dim, geometry.sites - 1, 1)
    return torch.cat(
        [values, last.expand(*[missing if d == dim % values.ndim else -1 for d in range(values.ndim)])], dim
    )


def to_rows(values: list[Tensor], geometry: Geometry) -> Tensor:
    """Return element values [B, M] or [B, M, size] as rows [number of scalars, elements]."""
    scalars = [part for v in values for part in ([v] if v.ndim == 2 else v.unbind(-1))]
    if not scalars:
        return torch.empty(0)
    shape = torch.Size((geometry.sites, geometry.components))
    stacked = torch.stack([s if s.shape == shape else s.expand(shape) for s in scalars])
    return pad(stacked, geometry).reshape(len(scalars), -1).contiguous()


def without_padding(rows: Tensor, geometry: Geometry) -> Tensor:
    """Set what is padded within sites to zero, in place: no weight, no gradient."""
    if not geometry.exact:
        rows.reshape(-1, geometry.width)[:, geometry.components :] = 0.0
    return rows


def from_rows(rows: Tensor, geometry: Geometry) -> Tensor:
    """Return rows [n, elements] as [n, B, M]."""
    shaped = rows.reshape(rows.shape[0], geometry.padded_sites, geometry.width)
    return shaped[:, : geometry.sites, : geometry.components]


@dataclass(frozen=True)
class Series:
    """A series in memory: [T, B, F] forcings or [T, B, D * M] dynamic parameters, and the strides of their axes.

    Parameters
    ----------
    values
        The numbers; those given, without a copy, where a kernel can read them as they are.
    time, row, column
        Distance between steps, between variables, and between sites; without meaning where a copy lies in blocks.
    """

    values: Tensor
    time: int
    row: int
    column: int


def forcing_series(forcing: Tensor, geometry: Geometry) -> Series:
    """Return forcings [T, B, F] as a kernel reads them."""
    if geometry.apart:
        return Series(forcing, forcing.stride(0), forcing.stride(2), forcing.stride(1))
    values = pad_sites(forcing, geometry, 1).transpose(1, 2).contiguous()
    return Series(values, values.stride(0), values.stride(1), 1)


def dynamic_series(dynamic: Tensor, geometry: Geometry) -> Series:
    """Return dynamic parameters [T, B, D * M] as a kernel reads them."""
    steps, sites, channels = dynamic.shape
    m = geometry.components
    count = channels // m
    if count == 0:
        return Series(dynamic, 0, 0, 0)
    if geometry.pieces:
        values = dynamic.contiguous()
        return Series(values, values.stride(0), m, channels)
    shaped = dynamic.reshape(steps, sites, count, m).transpose(1, 2)
    values = pad(shaped, geometry).reshape(steps, count, -1).contiguous()
    return Series(values, values.stride(0), values.stride(1), 0)


def dynamic_from_series(values: Tensor, steps: int, channels: int, geometry: Geometry) -> Tensor:
    """Return gradients in the layout of `dynamic_series` as [T, B, D * M]."""
    m = geometry.components
    if geometry.pieces:
        return values
    rows = values.reshape(-1, geometry.padded_sites, geometry.width)[:, : geometry.sites, :m]
    shaped = rows.reshape(steps, channels // m, geometry.sites, m)
    return shaped.transpose(1, 2).reshape(steps, geometry.sites, channels)


def static_rows(static: Tensor, count: int, geometry: Geometry) -> Tensor:
    """Return static parameters [B, S * M + R] as rows [S, elements]."""
    if not count:
        return static.new_empty(0)
    m = geometry.components
    shaped = static[:, : count * m].unflatten(1, (count, m)).transpose(0, 1)
    return pad(shaped, geometry).reshape(count, -1).contiguous()


def static_from_rows(rows: Tensor, channels: int, geometry: Geometry) -> Tensor:
    """Return gradients in rows [S, elements] as [B, S * M + R], none for what is beyond static parameters."""
    static = rows.new_zeros(geometry.sites, channels)
    count, m = rows.shape[0], geometry.components
    if count:
        static[:, : count * m].unflatten(1, (count, m)).copy_(from_rows(rows, geometry).transpose(0, 1))
    return static


def columns(geometry: Geometry) -> int:
    """Return the number of columns of a series that a kernel writes: one per site, or per block of large sites."""
    return geometry.padded_sites * geometry.parts


def from_columns(values: Tensor, geometry: Geometry) -> Tensor:
    """Return what a kernel wrote per column, [n, T, columns], as [n, T, B]; parts of a site are added in order."""
    if geometry.parts == 1:
        return values[..., : geometry.sites]
    parts = values.reshape(*values.shape[:-1], geometry.sites, geometry.parts).unbind(-1)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def to_columns(values: Tensor, geometry: Geometry) -> Tensor:
    """Return series [n, T, B] with the columns that a kernel reads, one per site with padding."""
    return pad_sites(values, geometry, -1).contiguous()


def from_elements(values: Tensor, geometry: Geometry) -> Tensor:
    """Return what a kernel wrote per element, [n, T, elements], as [n, T, B, M]."""
    shaped = values.reshape(*values.shape[:-1], geometry.padded_sites, geometry.width)
    return shaped[..., : geometry.sites, : geometry.components]


def to_elements(values: Tensor, geometry: Geometry) -> Tensor:
    """Return series [n, T, B, M] with the elements that a kernel reads; no gradient in what is padded."""
    padded = pad(values, geometry).reshape(*values.shape[:-2], -1).contiguous()
    return without_padding(padded, geometry)
