"""The laws hold for process models of every kind that the engine has to know."""

import pytest
import torch
from implicit_models import Layers
from step_models import STEP_MODELS, NetworkInside

from dmg.testing import LAWS, engines_agree


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("model", [*STEP_MODELS, Layers], ids=lambda model: model.__name__)
def test_law(model, law):
    if "budget" in law.__name__ and model.ledger is None:
        pytest.skip("declares no ledger")
    law(model)


class NewNetwork(NetworkInside):
    """Draws its weights as torch does, and reads only the difference of two outputs: a bias cancels."""

    def __init__(self, config=None, device=None):
        super().__init__(config, device)
        self.inner.reset_parameters()
        self.outer.reset_parameters()

    def step(self, s, x, p, dt):
        """One step."""
        wet, dry = (self.outer(torch.tanh(self.inner(v))) for v in self.features(s, x))
        out = s.storage * torch.sigmoid(wet - dry).squeeze(-1) / (1.0 + p.k)
        return {"storage": s.storage + (x.prcp - out) * dt}, {"streamflow": out, "share": out}

    @staticmethod
    def features(s, x):
        """Return what the network sees, and sees without warmth."""
        warm = torch.stack(torch.broadcast_tensors(s.storage / 20.0, x.warmth), dim=-1)
        return warm, warm * torch.tensor([1.0, 0.0], dtype=warm.dtype)


def test_weights_drawn_anew_are_the_same_on_every_engine():
    engines_agree(NewNetwork)
