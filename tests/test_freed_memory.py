"""Freed memory is kept while a run lasts, and given back after it."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from dmg.core.utils.freed_memory import freed_memory_kept

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

def faults(repeats=20, size=2**24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repeats):
        torch.empty(size).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(2)
usual = faults()
with freed_memory_kept() as able:
    faults()
    kept, during = faults(), resident()
returned = during - resident()
# Larger than any hole that the context can have left in the heap: what fits into one is not mapped anew.
print(int(able), usual, kept, faults(size=2**26) / 4, returned)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library of other systems has no such setting")
def test_pages_are_asked_for_once_and_given_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    able, usual, kept, after, returned = map(float, done.stdout.split())
    if not able:
        pytest.skip("the C library is not glibc")
    assert kept < usual / 10  # 20 tensors of 64 MB, of which the first alone needs pages
    assert after > usual / 2  # as before the context
    assert returned > 50
