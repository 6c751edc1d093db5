"""A process model that lives in a distribution of its own."""

from dmg.engine import Flux, Forcing, Ledger, Parameter, ProcessModel, State


class LinearStore(ProcessModel):
    """Single linear reservoir, dS/dt = P - S/k, backward Euler in closed form."""

    forcings = (Forcing("prcp", "mm d-1", high=20.0),)
    parameters = (Parameter("k", 1.0, 50.0, "d", "residence time"),)
    states = (State("storage", "mm", initial=1.0),)
    fluxes = (Flux("streamflow", "mm d-1"),)
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage",))

    def step(self, s, x, p, dt):
        """One step."""
        full = s.storage + x.prcp * dt
        out = full / (p.k + dt)
        return {"storage": full - out * dt}, {"streamflow": out}
