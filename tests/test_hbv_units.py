"""HBV 2.x: unit catchments, and the gauges that they drain to."""

from dataclasses import replace

import pytest
import torch

from dmg.errors import StepError
from dmg.models.delta_models import DplModel
from dmg.models.neural_networks import load_nn_model
from dmg.testing import draw_case
from hydrodl2.models.hbv import Hbv_2, Hbv_2_1_hourly, Hbv_2_hourly
from hydrodl2.routing import Gauges

TOPOLOGY = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
AREAS = torch.tensor([30.0, 5.0, 9.0], dtype=torch.float64)
SHARES = torch.tensor([0.6, 0.4, 0.7], dtype=torch.float64)
HOURLY = pytest.mark.parametrize("model", [Hbv_2_hourly, Hbv_2_1_hourly])


def hourly_case(model, **options):
    case = draw_case(model, {"nmul": 2, **options}, steps=150)
    paths = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return replace(case, raw=replace(case.raw, paths=paths))


def run(case, downstream, **options):
    options = {"attributes": case.attributes, "downstream": downstream} | options
    return case.model.run(case.forcing, case.raw, **options)


def test_counts_are_the_published_ones():
    dynamic = ["parBETA", "parK0", "parBETAET"]
    daily = Hbv_2({"routing": True, "dynamic_params": {"Hbv_2": dynamic}})
    assert (daily.learnable_param_count1, daily.learnable_param_count2, daily.learnable_param_count) == (3, 15, 18)
    hourly = Hbv_2_hourly({"nmul": 4, "dynamic_params": {"Hbv_2_hourly": dynamic}})
    assert (hourly.learnable_param_count1, hourly.learnable_param_count2, hourly.learnable_param_count3) == (12, 64, 3)
    assert hourly.parameter_bounds["parF0"] == [120.0, 2880.0]
    assert Hbv_2_1_hourly().parameter_bounds["parK0"] == [0.05, 12.0]
    assert hourly.distr_parameter_bounds == {"route_a": [0, 5], "route_b": [0, 12], "route_tau": [0, 48]}


def test_high_sites_melt_at_four_degrees_unless_elevation_is_switched_off():
    case = draw_case(Hbv_2, {"nmul": 1}, steps=1, sites=2)
    low = case.attributes | {"elev_all": torch.tensor([1999.0, 1999.0], dtype=torch.float64)}
    high = case.attributes | {"elev_all": torch.tensor([2000.0, 2000.0], dtype=torch.float64)}
    forcing = torch.tensor([10.0, 3.0, 1.0], dtype=torch.float64).expand(1, 2, 3).contiguous()

    def snow(attributes, **options):
        model = Hbv_2({"nmul": 1, **options})
        return model.run(forcing, case.raw, attributes=attributes, outputs=["SWE"])[0]["SWE"]

    assert (snow(high) > 9.0).all()
    assert (snow(low) < 1.0).all()
    without = {"ac_all": case.attributes["ac_all"]}
    torch.testing.assert_close(snow(without, elev_threshold=False), snow(low))


def test_a_regional_flow_out_takes_what_is_there():
    """With an empty lower zone the flow that is asked for does not take place, and the budget knows."""
    case = draw_case(Hbv_2, {"nmul": 1}, steps=60)
    raw = replace(case.raw, static=case.raw.static.clone())
    names = [p.name for p in case.model.layout.static_parameters]
    raw.static[:, names.index("parRT")] = 1.0
    raw.static[:, names.index("parAC")] = 1.0
    attributes = case.attributes | {"ac_all": torch.full((3,), 50.0, dtype=torch.float64)}
    outputs = ["regional_flow", "percolation", "gwflow"]
    series, _ = case.model.run(case.forcing, raw, attributes=attributes, outputs=outputs)
    assert (series["regional_flow"] <= 0).all()
    assert (-series["regional_flow"].sum(0) <= series["percolation"].sum(0) + 0.1).all()
    assert (series["regional_flow"] > -20.0).any()


def test_compact_output():
    case = draw_case(Hbv_2, {"full_output": False})
    series, _ = case.model.run(case.forcing, case.raw, attributes=case.attributes)
    assert list(series) == ["streamflow", "AET_hydro"]


@pytest.mark.parametrize("routing", [False, True])
def test_daily_gauges_are_the_weighted_sums_of_their_units_and_can_be_split(routing):
    case = draw_case(Hbv_2, {"nmul": 2, "gage_agg": True, "routing": routing})
    gauges = Gauges(TOPOLOGY, SHARES)
    whole, _ = run(case, gauges)
    assert {name: values.shape[1] for name, values in whole.items()} == {"streamflow": 2, "AET_hydro": 2}
    units, _ = run(case, None, outputs=["streamflow_no_rout", "AET_hydro"])
    torch.testing.assert_close(whole["AET_hydro"], units["AET_hydro"] @ (TOPOLOGY * SHARES).T)
    if not routing:
        torch.testing.assert_close(whole["streamflow"], units["streamflow_no_rout"] @ (TOPOLOGY * SHARES).T)
    options = {"attributes": case.attributes, "downstream": gauges}
    first, state = case.model.run(case.forcing[:17], case.raw.window(0, 17), **options)
    second, _ = case.model.run(case.forcing[17:], case.raw.window(17, 40), state, **options)
    joined = torch.cat([first["streamflow"], second["streamflow"]])
    torch.testing.assert_close(joined, whole["streamflow"], rtol=1e-12, atol=1e-12)


def test_gauges_are_asked_for():
    model = Hbv_2({"gage_agg": True})
    x = {"x_phy": torch.zeros(2, 1, 3), "ac_all": torch.ones(1), "elev_all": torch.ones(1)}
    with pytest.raises(StepError, match="there is no outlet_topo or no areas"):
        model(x, [torch.zeros(2, 1, 0), torch.zeros(1, 16)])
    with pytest.raises(StepError, match=r"needs\s+\[time, site, 0\] and \[site, 16\]"):
        model({**x, "outlet_topo": torch.ones(1, 1), "areas": torch.ones(1)}, [torch.zeros(2, 1, 0), torch.zeros(1, 9)])


@HOURLY
@pytest.mark.parametrize("options", [{}, {"routing": True}, {"conserve_lag": False}])
def test_hours_can_be_split_on_their_ways_to_the_gauges(model, options):
    case = hourly_case(model, **options)
    gauges = Gauges(TOPOLOGY, AREAS)
    whole, end = run(case, gauges)
    state, pieces = None, []
    for start, stop in ((0, 1), (1, 90), (90, 150)):
        given = {"attributes": case.attributes, "downstream": gauges}
        part, state = case.model.run(case.forcing[start:stop], case.raw.window(start, stop), state, **given)
        pieces.append(part["streamflow"])
    torch.testing.assert_close(torch.cat(pieces), whole["streamflow"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state.routing["streamflow"], end.routing["streamflow"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("options", "kept"), [({}, True), ({"conserve_lag": False}, False)])
def test_what_runs_off_arrives_unless_the_published_hydrograph_is_asked_for(options, kept):
    case = hourly_case(Hbv_2_hourly, **options)
    gauges = Gauges(TOPOLOGY, AREAS)
    runoff = torch.zeros(300, 3, dtype=torch.float64)
    runoff[:150] = run(case, None, outputs=["Qs"])[0]["Qs"]
    arrived = case.model.route_to_gauges(runoff, case.raw.paths, gauges).sum(0) * gauges.total(torch.ones(3).double())
    left = (runoff.sum(0) * AREAS) @ TOPOLOGY.T
    assert torch.allclose(arrived, left, rtol=1e-10) == kept
    assert (arrived <= left * (1 + 1e-10)).all()


@HOURLY
def test_hourly_outputs_without_gauges(model):
    case = hourly_case(model)
    assert list(run(case, None)[0]) == ["Qs"]
    with pytest.raises(StepError, match="needs to know where the sites flow to"):
        run(case, None, outputs=["streamflow"])
    raw = replace(case.raw, paths=None)
    with pytest.raises(StepError, match="there are no parameters for the 5 ways to gauges"):
        case.model.run(case.forcing, raw, attributes=case.attributes, downstream=Gauges(TOPOLOGY, AREAS))


def test_states_of_2_0_start_2_1():
    """The stores of the excess, which hourly 2.0 does not have, then start at their initial value."""
    x = {"x_phy": torch.rand(9, 3, 3), "ac_all": torch.full((3,), 2600.0), "elev_all": torch.zeros(3)}
    parameters = [torch.zeros(9, 3, 0), torch.full((3, 38), 0.5)]
    few, all_, other = (Hbv_2_1_hourly({"nmul": 2}) for _ in range(3))
    stores = [torch.full((3, 2), 4.0) for _ in range(5)]
    few.load_states(stores)
    all_.load_states([*stores, *(torch.full((3, 2), 0.001) for _ in range(2))])
    other.load_states([*stores, *(torch.full((3, 2), 1.0) for _ in range(2))])
    torch.testing.assert_close(few(x, parameters)["Qs"], all_(x, parameters)["Qs"], rtol=0, atol=0)
    assert not torch.allclose(few(x, parameters)["Qs"], other(x, parameters)["Qs"])


@pytest.mark.parametrize("network", ["LstmModel", "LstmMlpModel"])
def test_every_network_gives_parameters_within_their_bounds(network):
    """A network that ends in a logistic has it once, another one gets it from the process model."""
    case = draw_case(Hbv_2, {"nmul": 2, "dynamic_params": {"Hbv_2": ["parBETA"]}}, steps=8)
    block = {"name": network, "hidden_size": 4, "forcings": list("uv"), "attributes": list("xy")}
    model = DplModel(phy_model=case.model, nn_model=load_nn_model({"nn": block}, case.model)).double()
    generator = torch.Generator().manual_seed(0)
    series = 30 * torch.randn(8, 3, 4, generator=generator, dtype=torch.float64)
    data = {"x_phy": case.forcing, "xc_nn_norm": series, "c_nn_norm": series[0, :, :2], **case.attributes}
    for name, values in model.physical_parameters(data).items():
        low, high = case.model.parameter_bounds[name]
        assert low <= float(values.min()) <= float(values.max()) <= high
    links = {"LstmModel": "logistic", "LstmMlpModel": "identity"}
    assert model.phy_model.layout.link == links[network]
