"""The laws hold for process models of every kind that the engine has to know."""

import pytest
from implicit_models import Layers
from step_models import STEP_MODELS

from dmg.testing import LAWS


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("model", [*STEP_MODELS, Layers], ids=lambda model: model.__name__)
def test_law(model, law):
    if "budget" in law.__name__ and model.ledger is None:
        pytest.skip("declares no ledger")
    law(model)
