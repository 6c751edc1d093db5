"""Random networks of reaches."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def forests(draw: st.DrawFn) -> np.ndarray:
    """Draw a forest whose reaches stand in no particular order."""
    n = draw(st.integers(1, 30))
    to = [draw(st.integers(-1, i - 1)) for i in range(n)]
    new = draw(st.permutations(range(n)))
    downstream = np.empty(n, dtype=int)
    for i, target in enumerate(to):
        downstream[new[i]] = -1 if target < 0 else new[target]
    return downstream
