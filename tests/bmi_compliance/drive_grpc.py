"""Drive the component in a process of its own through grpc4bmi, as an eWaterCycle client does.

Usage: python drive_grpc.py CONFIG STEPS
"""

from __future__ import annotations

import sys
import time

import numpy as np
from grpc4bmi.bmi_client_subproc import BmiClientSubProcess

INPUTS = {
    "atmosphere_water__liquid_equivalent_precipitation_rate": 0.2,
    "land_surface_air__temperature": 8.0,
    "land_surface_water__potential_evaporation_volume_flux": 0.1,
}


def main(config: str, steps: int) -> None:
    """Run the component and check what comes back."""
    client = BmiClientSubProcess("dmg.bmi.DeltaModelBmi", timeout=60)
    try:
        client.initialize(config)
        size = client.get_grid_size(0)
        assert set(client.get_input_var_names()) == set(INPUTS)
        dest = np.empty(size)
        begin, seen = time.perf_counter(), []
        for step in range(steps):
            for name, value in INPUTS.items():
                client.set_value(name, np.full(size, value + 0.1 * (step % 5)))
            if step % 2:
                client.update()
            else:
                client.update_until(client.get_current_time() + client.get_time_step())
            seen.append(client.get_value("land_surface_water__runoff_depth", dest).copy())
        took = (time.perf_counter() - begin) / steps
        assert client.get_current_time() == steps * client.get_time_step()
        assert np.isfinite(seen).all()
        assert np.ptp(np.array(seen), axis=0).min() > 0
        for name in client.get_output_var_names():
            assert np.isfinite(client.get_value(name, dest)).all()
        client.finalize()
        print(f"grpc4bmi: {steps} steps of {size} nodes, {took * 1e3:.2f} ms each")
    finally:
        client.pipe.kill()
        client.pipe.wait(timeout=30)  # its own way to the end waits for a tenth of a second


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
