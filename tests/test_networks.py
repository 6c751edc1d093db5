"""Networks: structure, dropout, state, the reduced head."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from dmg.errors import ConfigError, DataError
from dmg.models.neural_networks import (
    AnnCloseModel,
    AnnModel,
    CudnnLstmModel,
    GruModel,
    LstmMlp2Model,
    LstmMlpModel,
    LstmModel,
    MlpModel,
    StackLstmMlpModel,
)

T, B, NX, NY, H = 9, 5, 4, 6, 8


@pytest.fixture
def lstm() -> LstmModel:
    torch.manual_seed(0)
    return LstmModel(NX, NY, H, dr=0.5)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(T, B, NX, generator=torch.Generator().manual_seed(1))


def reference(model: LstmModel, x: torch.Tensor) -> torch.Tensor:
    """The same network in textbook form, gates in the order input, forget, cell, output."""
    h = c = torch.zeros(x.shape[1], model.hidden_size, dtype=x.dtype)
    out = []
    for step in x:
        z = torch.relu(step @ model.linear_in.weight.T + model.linear_in.bias)
        p = model.lstm
        i, f, g, o = (z @ p.w_ih.T + p.b_ih + h @ p.w_hh.T + p.b_hh).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        out.append(h @ model.linear_out.weight.T + model.linear_out.bias)
    return torch.stack(out)


def test_lstm_has_the_published_weights(lstm):
    shapes = {key: tuple(value.shape) for key, value in lstm.state_dict().items()}
    assert shapes == {
        "linear_in.weight": (H, NX),
        "linear_in.bias": (H,),
        "lstm.w_ih": (4 * H, H),
        "lstm.w_hh": (4 * H, H),
        "lstm.b_ih": (4 * H,),
        "lstm.b_hh": (4 * H,),
        "linear_out.weight": (NY, H),
        "linear_out.bias": (NY,),
    }
    bound = 1 / np.sqrt(H)
    for weight in lstm.lstm.parameters():
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.25)


def test_lstm_matches_the_textbook_in_values_and_gradients(lstm, x):
    lstm, x = lstm.double().eval(), x.double()
    expected = reference(lstm, x)
    torch.testing.assert_close(lstm(x), expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(lstm(x).square().sum(), list(lstm.parameters()))
    theirs = torch.autograd.grad(reference(lstm, x).square().sum(), list(lstm.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_lstm_equals_torch(lstm, x):
    torch_lstm = nn.LSTM(H, H)
    with torch.no_grad():
        for mine, his in zip(lstm.lstm.parameters(), torch_lstm.parameters(), strict=True):
            his.copy_(mine)
    h, (h_n, c_n) = lstm.eval().features(x)
    expected, (eh, ec) = torch_lstm(torch.relu(lstm.linear_in(x)))
    for a, b in ((h, expected), (h_n, eh), (c_n, ec)):
        torch.testing.assert_close(a, b)


def test_gru_equals_torch_and_goes_on_from_its_state(x):
    torch.manual_seed(0)
    model, torch_gru = GruModel(NX, NY, H, dr=0.5).eval(), nn.GRU(H, H)
    with torch.no_grad():
        for mine, his in zip(model.gru.parameters(), torch_gru.parameters(), strict=True):
            his.copy_(mine)
    h, last = model.features(x)
    expected, final = torch_gru(torch.relu(model.linear_in(x)))
    torch.testing.assert_close(h, expected)
    torch.testing.assert_close(last, final)
    _, middle = model.features(x[:4])
    torch.testing.assert_close(model.features(x[4:], middle)[0], h[4:])
    torch.testing.assert_close(model(x), model.linear_out(h))
    torch.testing.assert_close(model.head(h, [3, 1]), model(x)[..., [3, 1]])


def test_gru_drops_weights_in_training_alone(x):
    model = GruModel(NX, NY, H, dr=0.5)
    model.train()(x).square().sum().backward()
    dropped = (model.gru.w_ih.grad == 0).float().mean()
    assert 0.3 < dropped < 0.7
    assert not torch.equal(model(x), model(x))
    assert torch.equal(model.eval()(x), model(x))
    with pytest.raises(ConfigError, match="GruModel takes 4 inputs per step, the batch has 3"):
        model(x[..., :3])


def test_every_weight_learns_in_training_without_a_warning(lstm, x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lstm.train()(x).square().sum().backward()
    for name, weight in lstm.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


def test_dropout_zeroes_weights_once_per_call(lstm, x):
    lstm.train()(x).square().sum().backward()
    dropped = (lstm.lstm.w_ih.grad == 0).float().mean()
    assert 0.3 < dropped < 0.7  # a dropped weight gets no gradient at any step
    assert not torch.equal(lstm(x), lstm(x))
    assert torch.equal(lstm(x, dr_false=True), lstm(x, dr_false=True))


def test_kept_weights_are_scaled_up_and_biases_untouched(x, monkeypatch):
    model = LstmModel(NX, NY, 32, dr=0.25)
    seen = []
    fused = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda *a: seen.append(a[2]) or fused(*a))
    model.train()(x)
    (w_ih, w_hh, b_ih, b_hh), own = seen[0], model.lstm
    assert len(seen) == 1
    for masked, weight in ((w_ih, own.w_ih), (w_hh, own.w_hh)):
        kept = masked != 0
        torch.testing.assert_close(masked[kept], weight[kept] / 0.75)
        assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert b_ih is own.b_ih
    assert b_hh is own.b_hh


def test_monte_carlo_dropout_in_evaluation(lstm, x):
    lstm.eval()
    assert torch.equal(lstm(x), lstm(x))
    assert not torch.equal(lstm(x, do_drop_mc=True), lstm(x))
    lstm.do_drop_mc = True
    assert not torch.equal(lstm(x), lstm(x))


def test_no_dropout_when_the_probability_is_zero(x):
    model = LstmModel(NX, NY, H, dr=0.0).train()
    assert torch.equal(model(x), model(x))


def test_evaluation_with_gradient(lstm, x):
    x.requires_grad_()
    lstm.eval()(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("columns", [[0], [4, 1], slice(2, 5), torch.tensor([5, 0, 3])])
@pytest.mark.parametrize("dpl", [False, True])
def test_reduced_head_is_a_part_of_the_full_output(x, columns, dpl):
    model = LstmModel(NX, NY, H, dpl=dpl).eval()
    h, _ = model.features(x)
    full = model(x)
    torch.testing.assert_close(model.head(h), full)
    torch.testing.assert_close(model.head(h, columns), full[..., columns])
    torch.testing.assert_close(model.head(h[-1], columns), full[-1][..., columns])
    assert ((full > 0) & (full < 1)).all() or not dpl


def test_a_run_in_two_parts_is_the_run_in_one(lstm, x):
    lstm.eval()
    whole, _ = lstm.features(x)
    first, state = lstm.features(x[:4])
    second, _ = lstm.features(x[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)


def test_result_of_a_site_does_not_depend_on_its_batch(lstm, x):
    torch.testing.assert_close(lstm.eval()(x)[:, 2:3], lstm(x[:, 2:3]), rtol=1e-5, atol=1e-6)


def test_states_are_kept_only_when_asked(lstm, x):
    lstm.eval()(x)
    assert lstm.get_states() == (None, None)
    assert torch.equal(lstm(x), lstm(x))
    lstm.load_states(lstm.get_states())  # the pair of None goes round without an error


def test_cached_states_continue_a_run(x):
    plain = LstmModel(NX, NY, H).eval()
    model = LstmModel(NX, NY, H, cache_states=True).eval()
    model.load_state_dict(plain.state_dict())
    expected = plain(x)
    torch.testing.assert_close(torch.cat([model(x[:4]), model(x[4:])]), expected)
    state = model.get_states()
    assert [tuple(s.shape) for s in state] == [(1, B, H)] * 2
    other = LstmModel(NX, NY, H, cache_states=True).eval()
    other.load_state_dict(plain.state_dict())
    other.load_states(state)
    torch.testing.assert_close(other(x), model(x))
    other.load_states(None)
    torch.testing.assert_close(other(x), expected)


def test_states_of_other_sites_are_refused(x):
    model = LstmModel(NX, NY, H, cache_states=True).eval()
    model(x)
    with pytest.raises(DataError, match=r"belongs to 5 sites, the batch has 3"):
        model(x[:, :3])
    with pytest.raises(DataError, match="belongs to 5 sites"):
        model.features(x[:, :2], model.get_states())
    with pytest.raises(DataError, match="two tensors"):
        model.load_states((torch.zeros(1, B, H + 1), torch.zeros(1, B, H + 1)))


def test_training_windows_never_start_from_a_cached_state(x):
    model = LstmModel(NX, NY, H, dr=0.0, cache_states=True).train()
    torch.testing.assert_close(model(x), model(x))
    assert model.get_states() == (None, None)


def test_cudnn_name_is_the_same_class():
    assert CudnnLstmModel is LstmModel


def test_double_precision_and_one_step_of_one_site():
    model = LstmModel(NX, NY, H).double()
    assert model(torch.zeros(1, 1, NX, dtype=torch.float64)).dtype == torch.float64
    with pytest.raises(DataError, match="single site"):
        model(torch.zeros(3, NX, dtype=torch.float64))


def test_wrong_width_and_dropout_are_explained(lstm, x):
    with pytest.raises(ConfigError, match="takes 4 inputs per step, the batch has 3"):
        lstm(x[..., :3])
    with pytest.raises(ConfigError, match="not a probability below 1"):
        LstmModel(NX, NY, H, dr=1.0)


def test_mlp_is_not_linear(x):
    torch.manual_seed(0)
    model = MlpModel({"hidden_size": H}, NX, NY).double().eval()
    a, b = x[0].double(), x[1].double()
    raw = [torch.logit(model(v)) for v in (a, b, (a + b) / 2)]
    assert (raw[2] - (raw[0] + raw[1]) / 2).abs().max() > 1e-4
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert len(layers) == 4
    assert len(model.state_dict()) == 8


def test_mlp_activation_is_a_choice(x):
    outs = []
    for name in ("relu", "tanh", "gelu"):
        torch.manual_seed(0)
        model = MlpModel({"hidden_size": H, "activation": name}, NX, NY)
        outs.append(model(x))
        assert ((outs[-1] > 0) & (outs[-1] < 1)).all()
    assert not torch.allclose(outs[0], outs[1])
    with pytest.raises(ConfigError, match="did you mean 'tanh'"):
        MlpModel({"hidden_size": H, "activation": "tanhh"}, NX, NY)
    with pytest.raises(ConfigError, match="hidden_size"):
        MlpModel({}, NX, NY)


def test_ann_layout_and_dropout(x):
    model = AnnModel(NX, NY, H, dr=0.5)
    names = {key.split(".")[0] for key in model.state_dict()}
    assert names == {"i2h", "h2o", *(f"h2h{i}" for i in range(1, 7))}
    assert model(x).shape == (T, B, NY)
    assert model(x[0]).shape == (B, NY)
    assert torch.equal(model.eval()(x), model(x))


def test_closed_network_follows_its_recurrence(x):
    model = AnnCloseModel(NX, 2, H, fill_obs=True).double()
    x = x.double()

    def run(y):
        last, out = torch.zeros(B, 2, dtype=torch.float64), []
        for t in range(T):
            if y is not None and t > 0:
                last = torch.where(y[t - 1].isnan(), last, y[t - 1])
            last = model.h2o(model.h2h(torch.relu(model.i2h(torch.cat([x[t], last], -1)))))
            out.append(last)
        return torch.stack(out)

    y = torch.randn(T, B, 2, dtype=torch.float64)
    y[2:5, 1] = torch.nan
    torch.testing.assert_close(model(x), run(None))
    torch.testing.assert_close(model(x, y), run(y))
    model(x, y).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    model.fill_obs = False
    torch.testing.assert_close(model(x, y), run(None))
    model.fill_obs = True
    with pytest.raises(DataError, match="do not fit outputs"):
        model(x, y[..., :1])


def test_pair_of_lstm_and_perceptron(x):
    model = LstmMlpModel(nx1=NX, ny1=3, hiddeninv1=H, nx2=2, ny2=7, hiddeninv2=16)
    assert {key.split(".")[0] for key in model.state_dict()} == {"lstminv", "ann"}
    assert "lstminv.lstm.w_hh" in model.state_dict()
    assert "ann.h2h6.bias" in model.state_dict()
    dynamic, static = model(x, torch.randn(B, 2))
    assert dynamic.shape == (T, B, 3)
    assert static.shape == (B, 7)
    for values in (dynamic, static):
        assert ((values > 0) & (values < 1)).all()
    model.eval()
    h, _ = model.features(x)
    torch.testing.assert_close(model.head(h, [1]), model(x, torch.randn(B, 2))[0][..., [1]])


def test_state_of_the_pair_is_that_of_its_lstm(x):
    model = LstmMlpModel(NX, 3, H, 2, 7, 16, cache_states=True).eval()
    c = torch.randn(B, 2)
    first, _ = model(x, c)
    state = model.get_states()
    second, _ = model(x, c)
    assert not torch.allclose(first, second)
    model.load_states(state)
    torch.testing.assert_close(model(x, c)[0], second)
    model.load_states(None)
    torch.testing.assert_close(model(x, c)[0], first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu_without_a_warning(lstm, x):
    lstm.eval()
    expected = lstm(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lstm, x = lstm.cuda(), x.cuda()
        torch.testing.assert_close(lstm(x).cpu(), expected, rtol=1e-4, atol=1e-5)
        lstm.train()(x).square().sum().backward()
    for name, weight in lstm.named_parameters():
        assert weight.grad.abs().sum() > 0, name


def stack(**keys) -> StackLstmMlpModel:
    """Return a stack for series of 4 inputs, 3 attributes, 2 and 3 dynamic, 5 and 6 static, 3 routing outputs."""
    torch.manual_seed(0)
    low = LstmMlpModel(nx1=4, ny1=2, hiddeninv1=6, nx2=3, ny2=5, hiddeninv2=7, dr1=0.0, dr2=0.0)
    high = LstmMlp2Model(
        nx1=4, ny1=3, hiddeninv1=8, nx2=3, ny2=6, hiddeninv2=7, nx3=3, ny3=3, hiddeninv3=7, dr1=0.0, dr2=0.0
    )
    return StackLstmMlpModel(low, high, **keys)


@pytest.fixture
def two_steps() -> tuple[torch.Tensor, ...]:
    """Days [10, 5 units, 4], hours [24, 5, 4], attributes of units and of 7 paths."""
    g = torch.Generator().manual_seed(3)
    return tuple(torch.randn(shape, generator=g) for shape in [(10, 5, 4), (24, 5, 4), (5, 3), (7, 3)])


def test_a_stack_has_outputs_for_two_time_steps_and_for_paths(two_steps):
    low, high = stack()(*two_steps)
    assert [tuple(t.shape) for t in low] == [(10, 5, 2), (5, 5)]
    assert [tuple(t.shape) for t in high] == [(24, 5, 3), (5, 6), (7, 3)]
    for output in (*low, *high):
        assert ((output > 0) & (output < 1)).all()


def test_the_hours_of_a_stack_start_cold_and_learn_from_the_days(two_steps):
    model, alone = stack(), stack(use_transfer=False)
    torch.testing.assert_close(model(*two_steps)[1][0], alone(*two_steps)[1][0])
    model(*two_steps)[1][0].square().sum().backward()
    assert model.h_transfer.weight.grad.abs().sum() > 0
    with torch.no_grad():
        model.h_transfer.weight.normal_()
    changed = model(two_steps[0] + 1.0, *two_steps[1:])[1][0]
    assert not torch.allclose(changed, model(*two_steps)[1][0])


def test_a_stack_gives_the_same_for_parts_of_the_units(two_steps):
    model, by_parts = stack().eval(), stack(sub_batch_size=2).eval()
    for one, other in zip(model(*two_steps), by_parts(*two_steps), strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b)


def test_the_hours_of_a_stack_go_on_from_their_state(two_steps):
    model = stack().eval()
    _, hours, *_ = two_steps
    whole, _ = model.run_high(hours)
    first, memory = model.run_high(hours[:10])
    second, _ = model.run_high(hours[10:], memory)
    torch.testing.assert_close(torch.cat((first, second)), whole)
