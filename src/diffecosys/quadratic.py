"""Roots of quadratic equations without loss of digits, with gradients that stay finite."""

from __future__ import annotations

import torch
from torch import Tensor

# Keeps the square root, and the division by it, differentiable; published results contain it.
EPSILON = 1e-8


def roots(a: Tensor | float, b: Tensor, c: Tensor, discriminant: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return both roots of a x² + b x + c = 0, which must be real.

    ``discriminant`` is b² - 4 a c for a caller that can compute it without cancellation.
    """
    discriminant = b * b - 4.0 * a * c if discriminant is None else discriminant
    sign = torch.where(b < 0.0, -1.0, torch.ones_like(b))
    q = -0.5 * (b + sign * torch.sqrt(discriminant + EPSILON))
    return q / a, c / (q + EPSILON)


def larger_root(a: Tensor | float, b: Tensor, c: Tensor) -> Tensor:
    """Return the larger root of a x² + b x + c = 0."""
    return torch.maximum(*roots(a, b, c))


def smooth_minimum(curvature: float, first: Tensor, second: Tensor) -> Tensor:
    """Return what two limits allow together: the smaller root of curvature x² - (first + second) x + first second."""
    product, apart = first * second, first - second
    discriminant = apart * apart + 4.0 * (1.0 - curvature) * product
    return torch.minimum(*roots(curvature, -(first + second), product, discriminant))
