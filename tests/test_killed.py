"""A training that is killed (SIGKILL) at any moment and resumed is bit for bit one that was not."""

import csv
import json
import random
import signal
import subprocess
import sys
import time

import pytest
import yaml
from killed_run import AFTER, BEFORE, start
from safetensors.torch import load_file
from small_run import small_config
from test_resume import CHANGES

EPOCHS = CHANGES["train__epochs"]


def file_of(folder, **changes):
    config = small_config(folder, **CHANGES, **changes)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def results(folder):
    """Return everything of a run that does not say when and how long."""
    out = folder / "out"
    with (out / "training_log.csv").open() as handle:
        log = [{k: v for k, v in row.items() if k not in ("time_s", "cpu_s")} for row in csv.DictReader(handle)]
    lines = [json.loads(line) for line in (out / "logs/metrics.jsonl").read_text().splitlines()]
    return {
        "weights": {p.name: load_file(p) for p in (out / "model").glob("*_ep*") if "trainer" not in p.name},
        "best": (out / "model/best.json").read_text(),
        "statistics": (out / "model/normalization_statistics.json").read_text(),
        "scores": (out / "metrics.json").read_text(),
        "log": log,
        "scalars": [{k: v for k, v in line.items() if not k.lower().startswith("time")} for line in lines],
    }


def assert_same(folder, expected):
    found = results(folder)
    weights, reference = found.pop("weights"), dict(expected).pop("weights")
    assert weights.keys() == reference.keys()
    for name, values in reference.items():
        assert all((weights[name][key] == value).all() for key, value in values.items()), name
    assert found == {key: value for key, value in expected.items() if key != "weights"}


def finish(config, *overrides):
    process = start(config, None, *overrides)
    process.join()
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of a run that was not killed, how long it took, and its data."""
    folder = tmp_path_factory.mktemp("whole")
    config = file_of(folder)
    began = time.monotonic()
    finish(config)
    return results(folder), time.monotonic() - began, str(folder / "store.nc")


@pytest.fixture
def config(tmp_path, whole):
    return file_of(tmp_path, observations__data_path=whole[2])


def killed_at(config, moment, number):
    process = start(config, (moment, number))
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_killed_at_one_write_after_the_other(tmp_path, config, whole):
    draw = random.Random(0)
    times, faults = 0, []
    # Each start dies in the epoch in which it begins, or the one after: at log, weights, best epoch or checkpoint.
    for _ in range(EPOCHS):
        faults.append((draw.choice([BEFORE, AFTER]), draw.randint(5, 12)))
        times += killed_at(config, *faults[-1])
    finish(config)
    assert times > 2, faults
    assert_same(tmp_path, whole[0])


def test_killed_at_random_moments(tmp_path, config, whole):
    expected, seconds, _ = whole
    draw = random.Random(1)
    for _ in range(3):
        process = start(config)
        process.join(draw.uniform(0.3, 1.0) * seconds)
        process.kill()
        process.join()
    finish(config)
    assert_same(tmp_path, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "first"), [(BEFORE, 1), (AFTER, 2)])
def test_killed_at_any_write(tmp_path_factory, whole, moment, first):
    for number in range(first, 100, 2):
        folder = tmp_path_factory.mktemp("killed")
        config = file_of(folder, observations__data_path=whole[2])
        if not killed_at(config, moment, number):
            break
        finish(config)
        assert_same(folder, whole[0])
    assert number > 4 * EPOCHS


@pytest.mark.slow
def test_killed_commands_are_resumed(tmp_path, config, whole):
    """The program as users start it, killed from outside until a start lives long enough."""
    command = [sys.executable, "-m", "dmg", "--config-name", str(config), "train.resume=true"]
    draw, seconds = random.Random(time.time_ns()), 3.0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert process.wait(draw.uniform(0.5, 1.0) * seconds) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            seconds *= 1.2
    assert_same(tmp_path, whole[0])
