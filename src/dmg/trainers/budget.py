"""The budgets of a run by site: as plain data for files, as a table of text, and the greatest residual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.utils.text_table import text_table

if TYPE_CHECKING:
    from dmg.engine import Budget
    from dmg.trainers.simulate import Simulation

YEAR = np.timedelta64(31_557_600, "s")
"""365.25 days."""


@dataclass(frozen=True)
class SiteBudget:
    """The budget of one model at every site, in units of its stores per year.

    Parameters
    ----------
    model
        Name of the model.
    sites
        Ids [N].
    period
        First and last step.
    years
        Length of the period.
    budget
        The sums over the period.
    """

    model: str
    sites: list[str]
    period: tuple[np.datetime64, np.datetime64]
    years: float
    budget: Budget

    @property
    def unit(self) -> str:
        """Unit of every term."""
        return f"{self.budget.unit} per year".lstrip()

    def per_year(self, terms: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return terms [N] per year."""
        return {name: value.numpy() / self.years for name, value in terms.items()}

    @property
    def residual(self) -> np.ndarray:
        """What the declared terms do not account for, [N] per year."""
        return self.budget.residual.numpy() / self.years

    @property
    def greatest(self) -> tuple[float, str]:
        """The greatest residual per year, without sign, and its site."""
        worst = int(np.argmax(np.abs(self.residual)))
        return float(abs(self.residual[worst])), self.sites[worst]

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold: every term [N] per year, by kind."""
        b, (worst, site) = self.budget, self.greatest
        kinds = ("inflow", "declared", "outflow", "storage", "routed", "river")
        return {
            "unit": self.unit,
            "period": [str(moment)[:16] for moment in self.period],
            "years": self.years,
            "sites": self.sites,
            **{
                kind: {name: values.tolist() for name, values in self.per_year(getattr(b, kind)).items()}
                for kind in kinds
            },
            "in_river": {name: values.tolist() for name, values in b.in_river.items()},
            "residual": self.residual.tolist(),
            "greatest_residual": {"value": worst, "site": site},
        }

    def line(self) -> str:
        """Return the sentence that a report has."""
        worst, site = self.greatest
        return f"budget of {self.model}: greatest residual {worst:.1e} {self.unit}, at site {site}"

    def table(self) -> str:
        """Return one line per site and one for their mean: what entered, what left, what the stores gained."""
        b = self.budget
        columns: dict[str, np.ndarray] = {}
        for sign, terms in (("+ ", b.inflow), ("+ ", b.declared), ("- ", b.outflow), ("= ", b.storage)):
            columns |= {sign + name: values for name, values in self.per_year(terms).items()}
        columns["residual"] = self.residual
        columns |= {f"{name} routed": values for name, values in self.per_year(b.routed).items()}
        columns |= {
            f"in the river ({b.unit})" if len(b.in_river) == 1 else f"{name} in the river ({b.unit})": values.numpy()
            for name, values in b.in_river.items()
        }
        rows = [["site", *columns]]
        rows += [
            [site, *(_number(name, values[i]) for name, values in columns.items())] for i, site in enumerate(self.sites)
        ]
        if len(self.sites) > 1:
            rows.append(["mean", *(_number(name, values.mean()) for name, values in columns.items())])
        first, last = (str(moment)[:16].removesuffix("T00:00") for moment in self.period)
        head = f"{self.model}, {first} to {last} ({self.years:.2f} years), {self.unit}, before routing"
        return "\n".join([head, text_table(rows), self.line()])


def site_budgets(simulation: Simulation) -> list[SiteBudget]:
    """Return the budgets of a simulation that was asked for them; none for models that declare no ledger.

    They are those of the sites whose states the simulation has: of units, where the results are those of gauges.
    """
    times = simulation.times
    step = (times[1] - times[0]) if len(times) > 1 else simulation.state.step
    return [
        SiteBudget(name, simulation.state.sites, (times[0], times[-1]), float(budget.steps * step / YEAR), budget)
        for name, budget in simulation.budgets.items()
    ]


def _number(column: str, value: float) -> str:
    return f"{value:.1e}" if column == "residual" else f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
