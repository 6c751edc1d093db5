"""Every registered process model obeys every law."""

import pytest

from dmg.registry import process_models
from dmg.testing import LAWS, step_models


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", step_models())
def test_law(name, law):
    law(process_models.get(name))
