"""A process model: a declaration, a pure step, and everything that follows from the two."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmg.engine.declare import Attribute, Flux, Forcing, Ledger, Parameter, State, Values
from dmg.engine.explicit import METHODS, advance
from dmg.engine.free_parameters import GlobalParameters, check_name, with_fixed
from dmg.engine.implicit import UNCONVERGED
from dmg.engine.inner_network import InnerNetwork
from dmg.engine.learned_flux import Learned, flux_networks, learned_in
from dmg.engine.parameters import ParameterLayout, RawParameters
from dmg.engine.router import Router, latest
from dmg.engine.simulate import simulate
from dmg.engine.site_share import rand_by_site
from dmg.engine.standalone import StandaloneCall
from dmg.engine.state import ModelState
from dmg.errors import StepError, did_you_mean
from dmg.registry import routers

#: The solver of a tendency unless another is chosen: backward Euler.
IMPLICIT = "implicit"


class ProcessModel(StandaloneCall, nn.Module):
    """Base class of process models.

    A subclass declares ``forcings``, ``attributes`` (known properties of a site that do not change), ``parameters``,
    ``states``, ``fluxes`` and a ``ledger``, and writes ``step``, or ``tendency`` if it is to be solved implicitly. The
    step may call ``networks`` that it declares, and offer ``adjustable`` fluxes to networks of the configuration.
    The declared parameters are found as ``parameter_table``, because ``parameters()`` is PyTorch's own method.

    Parameters
    ----------
    config
        Options of the block ``model.phy``, all optional: ``nmul`` (components, 1), ``dynamic_params`` ({class name:
        [parameter names]}), ``fixed_params`` ({class name: {parameter: value}}), ``global_params`` ({class name:
        [parameter names]}: one learned value for all sites), ``warmup`` (0), ``warmup_states`` (true), ``dy_drop`` (0),
        ``routing`` (true), ``router`` (name of a registered one, instead of the model's own), ``variables`` (order
        of the forcings), ``nearzero`` (1e-5), ``cache_states`` (false), ``engine`` (auto); of a model
        with a ``tendency`` also ``solver`` (implicit; euler, heun or rk4 for an explicit step) and ``substeps`` of an
        explicit one (1); ``networks`` ({flux: block}, for fluxes that the model names in ``adjustable``, see
        `dmg.engine.learned_flux`).
        ``comprout`` (route every component, then average) is accepted and changes nothing: the router is linear and
        its kernel is shared by the components of a site.
    device
        Device of new states; forcings decide where a run takes place.

    Examples
    --------
    >>> class LinearStore(ProcessModel):
    ...     '''Single linear reservoir, dS/dt = P - S/k.'''
    ...     forcings = (Forcing("prcp", unit="mm d-1"),)
    ...     parameters = (Parameter("k", 1.0, 200.0, unit="d"),)
    ...     states = (State("storage", unit="mm"),)
    ...     fluxes = (Flux("streamflow", unit="mm d-1"),)
    ...     ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage",))
    ...     def step(self, s, x, p, dt):
    ...         full = s.storage + x.prcp * dt
    ...         out = full / (p.k + dt)
    ...         return {"storage": full - out * dt}, {"streamflow": out}
    >>> LinearStore({"nmul": 4}).learnable_param_count
    4
    """

    forcings: ClassVar[tuple[Forcing, ...]] = ()
    attributes: tuple[Attribute, ...] = ()
    parameter_table: ClassVar[tuple[Parameter, ...]] = ()
    states: ClassVar[tuple[State, ...]] = ()
    fluxes: ClassVar[tuple[Flux, ...]] = ()
    ledger: ClassVar[Ledger | None] = None
    networks: ClassVar[tuple[InnerNetwork, ...]] = ()
    adjustable: ClassVar[tuple[str, ...]] = ()
    link: ClassVar[str] = "logistic"
    dt: float = 1.0
    routed: ClassVar[tuple[str, ...]] = ()
    tail_names: ClassVar[Mapping[str, str]] = {}
    derived: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    derived_units: ClassVar[Mapping[str, str]] = {}
    gathered: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    total: ClassVar[str | None] = None
    warmup_is_static: ClassVar[bool] = False
    routes_whole: ClassVar[bool] = False
    router_class: ClassVar[type[Router] | None] = None
    implicit: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = cls.__dict__.get("parameters")
        if isinstance(declared, tuple):
            cls.parameter_table = declared
            del cls.parameters
        cls.implicit = cls.tendency is not ProcessModel.tendency
        if cls.implicit:
            if cls.step is not ProcessModel.step:
                raise StepError(f"{cls.__name__} has a step and a tendency", hint="write one of them")
            cls.fluxes = (*(f for f in cls.fluxes if f != UNCONVERGED), UNCONVERGED)

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        super().__init__()
        config = dict(config or {})
        name = type(self).__name__
        self.device = torch.device(device or "cpu")
        self.nmul = int(config.get("nmul") or 1)
        self.warmup = int(config.get("warmup", config.get("warm_up")) or 0)
        self.warmup_states = bool(_first(config, "warmup_states", "warm_up_states", default=True))
        self.dy_drop = float(config.get("dy_drop") or 0.0)
        self.nearzero = float(_first(config, "nearzero", default=1e-5))
        self.cache_states = bool(config.get("cache_states") or False)
        self.engine = str(config.get("engine") or "auto")
        self._choose_solver(config)
        self.variables = list(config.get("variables") or [forcing.name for forcing in self.forcings])
        routing = bool(_first(config, "routing", default=True))
        router_class = routers.get(config["router"]) if config.get("router") else self.router_class
        if router_class is not None and not self.routed:
            raise StepError(f"{name} routes no flux, a router has nothing to do", hint="remove model.phy.router")
        self.router = router_class() if router_class is not None and routing else None
        dynamic = list((config.get("dynamic_params") or {}).get(name) or [])
        shared = list((config.get("global_params") or {}).get(name) or [])
        fixed = dict((config.get("fixed_params") or {}).get(name) or {})
        self.parameter_table = with_fixed(name, self.parameter_table, fixed, [*dynamic, *shared])
        for parameter in shared:
            check_name(name, parameter, [p.name for p in self.parameter_table], "model.phy.global_params")
            if parameter in dynamic:
                raise StepError(
                    f"'{parameter}' of {name} is global and dynamic",
                    where="model.phy.global_params",
                    hint="one value for all sites does not vary in time",
                )
        self.global_parameters = GlobalParameters([p for p in self.parameter_table if p.name in shared])
        supplied = tuple(
            p for p in self.parameter_table if p.name not in shared and (p.default is None or p.name in dynamic)
        )
        self.layout = ParameterLayout(
            supplied,
            tuple(dynamic),
            self.nmul,
            self.router.routing_parameters if self.router else (),
            self.link,
        )
        for forcing in self.forcings:
            if forcing.name not in self.variables:
                raise StepError(
                    f"{name} needs the forcing '{forcing.name}', which 'variables' does not list",
                    hint=did_you_mean(forcing.name, self.variables),
                )
        taken = [declared.name for declared in (*self.forcings, *self.parameter_table)]
        for attribute in self.attributes:
            if attribute.name in taken:
                raise StepError(
                    f"{name} has an attribute '{attribute.name}' and a forcing or parameter of that name",
                    hint="rename one of them",
                )
        if self.implicit and not self.states:
            raise StepError(f"{name} has a tendency and no state", hint="declare the states whose rates it gives")
        for state in self.states:
            if state.algebraic and not self.implicit:
                raise StepError(
                    f"the state '{state.name}' of {name} is algebraic, and {name} has no tendency that is solved",
                    hint="write tendency(self, s, x, p), whose entry for it is to be zero, with solver: implicit",
                )
            if state.bounds and len(self.states) > 1:
                raise StepError(
                    f"the state '{state.name}' of {name} has bounds and is not the only state",
                    hint="leave the bounds out: several states are found by Newton's method alone",
                )
            if any(state.name == flux.name for flux in self.fluxes):
                raise StepError(
                    f"{name} has a state and a flux of one name, '{state.name}'",
                    hint="rename one of them: both can be asked for as a series",
                )
            known = [p.name for p in self.parameter_table]
            if isinstance(state.initial, str) and state.initial not in known:
                raise StepError(
                    f"{name} has no parameter '{state.initial}', with which the state '{state.name}' is to start",
                    hint=did_you_mean(state.initial, known),
                )
        self.net = nn.ModuleDict({network.name: network.build() for network in self.networks})
        self.flux_networks = flux_networks(self, config.get("networks"))
        self.reset_states()

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Advance the states by one step; every value is [B, M] or broadcasts to it.

        A model with a ``tendency`` and an explicit ``solver`` needs none of its own.

        Parameters
        ----------
        s, x, p
            States, forcings (with attributes [B, 1]) and parameters by name.
        dt
            Time step in days.

        Returns
        -------
        states, fluxes
            Every declared state and flux by name.
        """
        if type(self).implicit:
            return advance(self.tendency, self.solver, self.substeps, s, x, p, dt)
        raise StepError(f"{type(self).__name__} has no step", hint="write step(self, s, x, p, dt), or tendency")

    def _choose_solver(self, config: Mapping[str, Any]) -> None:
        """Set how a tendency is advanced.

        Raises
        ------
        StepError
            For an unknown solver, or one for a model that has a step.
        """
        self.solver, self.substeps = str(config.get("solver") or IMPLICIT), int(config.get("substeps") or 1)
        known = (IMPLICIT, *METHODS)
        if self.solver not in known:
            raise StepError(
                f"unknown solver '{self.solver}'", where="model.phy.solver", hint=did_you_mean(self.solver, known)
            )
        explicit = self.solver != IMPLICIT
        if explicit and not type(self).implicit:
            raise StepError(
                f"{type(self).__name__} has a step, which no solver can change",
                where="model.phy.solver",
                hint="write tendency(self, s, x, p) instead of the step",
            )
        if self.substeps != 1 and not explicit:
            raise StepError(
                "substeps are parts of an explicit step",
                where="model.phy.substeps",
                hint=f"solver: {', '.join(METHODS)}",
            )
        if explicit:
            self.implicit = False
            self.fluxes = tuple(f for f in self.fluxes if f != UNCONVERGED)

    def tendency(self, s: Values, x: Values, p: Values) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the rates of change of the states; a model that has this instead of ``step`` is implicit.

        The engine advances the states by backward Euler, S_new = S_old + dt * rates(S_new), and returns the fluxes at
        the new states, so that what leaves the stores is what the fluxes say.

        Parameters
        ----------
        s, x, p
            States, forcings and parameters by name. States may be anything on the way to a solution, also negative.

        Returns
        -------
        rates, fluxes
            Change per day of every state, and every flux by name.
        """
        raise StepError(f"{type(self).__name__} has no tendency", hint="write tendency(self, s, x, p)")

    def unsupplied(self, supplied: Collection[str]) -> dict[str, float | Tensor]:
        """Return the parameters that are not among those supplied: their fixed values, or their global ones [1, 1]."""
        fixed = {p.name: p.default for p in self.parameter_table if p.default is not None}
        return {n: v for n, v in {**fixed, **self.global_parameters()}.items() if n not in supplied}

    def learned(self, s: Values, x: Values, p: Values) -> Learned:
        """Return what a step asks for its ``adjustable`` fluxes.

        It goes on with ``learned(name, value, upto)``; without a network on that flux this is the value. No
        network takes it below zero or above ``upto``.
        """
        return learned_in(self.flux_networks, s, x, p)

    @property
    def learnable_param_count(self) -> int:
        """Number of channels that a network must supply."""
        return self.layout.width

    @property
    def learnable_param_count1(self) -> int:
        """Number of channels that vary in time."""
        return len(self.layout.dynamic_channels)

    @property
    def learnable_param_count2(self) -> int:
        """Number of channels that do not, those of the router included."""
        return len(self.layout.static_channels)

    @property
    def parameter_bounds(self) -> dict[str, list[float]]:
        """Bounds by parameter name."""
        return {p.name: [p.low, p.high] for p in self.layout.parameters}

    @property
    def routing_parameter_bounds(self) -> dict[str, list[float]]:
        """Bounds by name of the parameters of the router."""
        return {p.name: [p.low, p.high] for p in self.layout.routing}

    def cold_stores(self, sites: int, *, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        """Return the initial stores, state name to [B, M] or [B, M, size]; those that are parameters are left out."""
        tail = {s.name: (s.size,) if s.size > 1 else () for s in self.states}
        return {
            s.name: torch.full((sites, self.nmul, *tail[s.name]), s.initial, dtype=dtype, device=device)
            for s in self.states
            if not isinstance(s.initial, str)
        }

    def complete_stores(
        self, stores: Mapping[str, Tensor], parameters: RawParameters, layout: ParameterLayout
    ) -> dict[str, Tensor]:
        """Return the stores with those that start from a parameter and are not there yet.

        Raises
        ------
        StepError
            If a store is missing that does not start from a parameter.
        """
        complete = dict(stores)
        for s in self.states:
            if s.name in complete:
                continue
            if not isinstance(s.initial, str):
                raise StepError(
                    f"the initial stores have no '{s.name}'", hint=did_you_mean(s.name, stores) if stores else None
                )
            value = layout.at_start(parameters, s.initial)
            if value is None:
                shape = parameters.static.shape[0], layout.components
                value = torch.as_tensor(self.unsupplied(())[s.initial]).to(parameters.static).expand(shape)
            complete[s.name] = value if s.size == 1 else value.unsqueeze(-1).expand(*value.shape, s.size)
        return complete

    def cold_state(
        self, sites: int, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
    ) -> ModelState:
        """Return the full state of a cold start: initial stores but those that are parameters, an empty river."""
        stores = self.cold_stores(sites, dtype=dtype, device=device or self.device)
        if self.router is None:
            return ModelState(stores)
        empty = torch.zeros(self.router.length - 1, sites, dtype=dtype, device=device or self.device)
        return ModelState(stores, dict.fromkeys(self.routed, empty))

    def forcing_names(self, x_dict: Mapping[str, Any]) -> list[str]:
        """Return which forcing each column of ``x_phy`` is."""
        names = list(getattr(x_dict, "names", {}).get("x_phy", self.variables))
        return names if set(self.variables) <= set(names) else self.variables

    def read_forcing(self, x_dict: Mapping[str, Any]) -> Tensor:
        """Return ``x_phy`` with its columns in the order of ``forcings``."""
        names, x = self.forcing_names(x_dict), x_dict["x_phy"]
        if x.shape[-1] != len(names):
            raise StepError(
                f"x_phy has {x.shape[-1]} variables, 'variables' names {len(names)}: {', '.join(names)}",
                hint="list in model.phy.forcings exactly what the model needs",
            )
        order = [names.index(forcing.name) for forcing in self.forcings]
        return x if order == list(range(len(names))) else x[..., order]

    @classmethod
    def forcings_for(cls, config: Mapping[str, Any]) -> tuple[Forcing, ...]:
        """Return the forcings that a model of these options needs."""
        return cls.forcings

    @classmethod
    def attributes_for(cls, config: Mapping[str, Any]) -> tuple[Attribute, ...]:
        """Return the attributes that a model of these options needs."""
        return cls.attributes

    def read_attributes(self, x_dict: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the declared attributes, [B] each, from keys of their names or else from ``c_phy``.

        Raises
        ------
        StepError
            If one is in neither.
        """
        columns = list(getattr(x_dict, "names", {}).get("c_phy", ()))
        found = {}
        for attribute in self.attributes:
            if attribute.name in x_dict:
                found[attribute.name] = torch.as_tensor(x_dict[attribute.name]).reshape(-1)
            elif attribute.name in columns:
                found[attribute.name] = x_dict["c_phy"][:, columns.index(attribute.name)]
            else:
                raise StepError(
                    f"{type(self).__name__} needs the attribute '{attribute.name}' ({attribute.unit}) of every site",
                    hint=f"give it as '{attribute.name}' [site], or say in model.phy.attributes which one it is",
                )
        return found

    def read_downstream(self, x_dict: Mapping[str, Any]) -> Any:
        """Return where the sites flow to, for a model that gathers them (see ``gathered``); None if that is unknown."""
        return None

    def run(
        self,
        forcing: Tensor,
        parameters: RawParameters,
        state: ModelState | None = None,
        *,
        attributes: Mapping[str, Tensor] | None = None,
        outputs: Sequence[str] | None = None,
        layout: ParameterLayout | None = None,
        weights: Tensor | None = None,
        kernel_length: int | None = None,
        downstream: Any = None,
    ) -> tuple[dict[str, Tensor], ModelState]:
        """Run the model, router included, from a full state to a full state.

        Parameters
        ----------
        forcing
            [T, B, F] in the order of ``forcings``.
        parameters
            Network output before link and bounds.
        state
            Full state before the first step, a cold start if absent.
        attributes
            Name to values [B] of the attributes that the model declares.
        outputs
            Names to return: fluxes, ``<name>_no_rout`` of a routed one, states (their values at the end of every step,
            a vector state summed over its entries), derived quantities; all fluxes but the diagnostic ones, and what
            is derived from them, if absent.
            The state returned remembers routed fluxes only as far as they were computed.
        layout
            Which channel is which parameter; that of the model if absent.
        weights
            Component weights [B, M] of the total flow; plain means if absent.
        kernel_length
            Greatest length of a hydrograph; the router's own if absent.
        downstream
            Where sites flow to, as `read_downstream` returns it; nowhere if absent.

        Returns
        -------
        outputs
            Name to series [T, B], or to [B] for a derived quantity; [T, G] where sites flow together.
        state
            Full state after the last step.
        """
        state = state or self.cold_state(forcing.shape[1], dtype=forcing.dtype, device=forcing.device)
        layout = layout or self.layout
        wanted = self.fluxes_of(outputs)
        result = simulate(
            self,
            forcing,
            parameters,
            state.stores,
            attributes=attributes,
            layout=layout,
            fluxes=wanted,
            weights={self.total: weights} if weights is not None and self.total else None,
            engine=self.engine,
        )
        series, memory = self.route(result.fluxes, parameters, layout, state.routing, kernel_length, downstream)
        for name, sources in self.derived.items():
            if all(source in series for source in sources):
                series[name] = self.derive(name, series)
        named = [name for name in self.usual_outputs if name in series] if outputs is None else outputs
        for name in named:
            if name not in series:
                raise StepError(
                    f"'{name}' of {type(self).__name__} needs to know where the sites flow to",
                    hint="give outlet_topo and areas, or ask for other outputs",
                )
        return {name: series[name] for name in named}, ModelState(result.stores, memory)

    def route(
        self,
        fluxes: Mapping[str, Tensor],
        parameters: RawParameters,
        layout: ParameterLayout,
        history: Mapping[str, Tensor],
        kernel_length: int | None = None,
        downstream: Any = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Move the fluxes of the step in time, and between sites where a model does so.

        Parameters
        ----------
        fluxes
            Name to series [T, B].
        parameters, layout
            Where the parameters of the router are.
        history
            Name to the rows before the series.
        kernel_length, downstream
            As for `run`.

        Returns
        -------
        series
            Name to series, the unrouted ones included.
        memory
            Name to the rows that still influence the future.
        """
        series, memory = dict(fluxes), {}
        series |= {f"{name}_no_rout": values for name, values in fluxes.items() if name in self.routed}
        if self.router is not None and not self.router.needs_network:
            length = min(kernel_length or self.router.length, self.router.length)
            kernel = self.router.kernel(layout.scale_routing(parameters), length)
            for name in [n for n in fluxes if n in self.routed]:
                past, values = history.get(name), fluxes[name]
                series[name] = self.router.route(values, kernel, past)
                memory[name] = latest(values, past, self.router.length - 1)
        return series, memory

    def derive(self, name: str, series: Mapping[str, Tensor]) -> Tensor:
        """Return a derived quantity [B] of a whole run, from the series [T, B] that ``derived`` names for it."""
        raise StepError(f"{type(self).__name__} does not say how to derive '{name}'", hint="write derive(name, series)")

    @property
    def usual_outputs(self) -> list[str]:
        """Names that a run returns if it is not asked for others: what needs no diagnostic flux."""
        usual = [f.name for f in self.fluxes if not f.diagnostic]
        derived = [name for name, sources in self.derived.items() if set(sources) <= set(usual)]
        return [*usual, *(f"{name}_no_rout" for name in self.routed if name in usual), *derived]

    def fluxes_of(self, outputs: Sequence[str] | None) -> list[str]:
        """Return the fluxes, and states as series, that the outputs need.

        Raises
        ------
        StepError
            For a name that is no output.
        """
        known = [declared.name for declared in (*self.fluxes, *self.states)]
        known += [*(f"{name}_no_rout" for name in self.routed), *self.derived, *self.gathered]
        needed: dict[str, None] = {}
        for name in self.usual_outputs if outputs is None else outputs:
            if name not in known:
                raise StepError(f"{type(self).__name__} has no output '{name}'", hint=did_you_mean(name, known))
            sources = self.derived.get(name) or self.gathered.get(name) or (name.removesuffix("_no_rout"),)
            needed |= dict.fromkeys(sources)
        return list(needed)

    def drop_dynamics(self, raw: RawParameters) -> RawParameters:
        """Draw, in training, which dynamic parameters of which site keep their last value for the whole window."""
        if not (self.training and self.dy_drop and self.layout.dynamic):
            return raw
        shape = (len(self.layout.dynamic), raw.static.shape[0])
        dropped = (rand_by_site(shape, dim=1) < self.dy_drop).to(raw.static.device)
        return replace(raw, dropped=dropped, held=raw.dynamic[-1])

    def physical_parameters(self, raw: RawParameters) -> dict[str, Tensor]:
        """Return the parameters in their units: static [B, M], dynamic [T, B, M], those of the router [B]."""
        static, dynamic = self.layout.scale(raw)
        return static | dynamic | self.layout.scale_routing(raw)


def _first(config: Mapping[str, Any], *keys: str, default: Any) -> Any:
    for key in keys:
        if config.get(key) is not None:
            return config[key]
    return default
