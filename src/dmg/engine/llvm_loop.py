"""Loops in LLVM functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dmg.engine.llvm_writer import Writer


def write_loop(
    w: Writer,
    start: str,
    stop: str,
    carried: Sequence[tuple[str, str]],
    body: Callable[..., Sequence[str]],
    step: int = 1,
) -> list[str]:
    """Write a loop over integers that carries values; return what it carries in the end.

    Parameters
    ----------
    w
        Writer of the function.
    start, stop
        First value, and the one that is not reached any more.
    carried
        Type and initial value of what is carried.
    body
        Called with the counter and the carried values; returns the new ones.
    step
        1 or -1.
    """
    w.labels += 1
    n = w.labels
    w.do(f"br label %before{n}")
    w.do(f"before{n}:")
    w.do(f"br label %head{n}")
    w.do(f"head{n}:")
    phis = [f"%i{n}"] + [f"%c{n}_{k}" for k in range(len(carried))]
    kinds = ["i64"] + [kind for kind, _ in carried]
    starts = [start] + [value for _, value in carried]
    slots = []
    for phi, kind, value in zip(phis, kinds, starts, strict=True):
        slots.append((len(w.lines), phi, kind, value))
        w.do("")
    w.do(f"%go{n} = icmp {'slt' if step > 0 else 'sgt'} i64 %i{n}, {stop}")
    w.do(f"br i1 %go{n}, label %body{n}, label %done{n}")
    w.do(f"body{n}:")
    # What the body computes is unknown after it.
    known, w.logarithms = w.logarithms, dict(w.logarithms)
    new = list(body(*phis))
    w.logarithms = known
    following = w.integer(f"add %i{n}, {step}")
    w.do(f"br label %latch{n}")
    w.do(f"latch{n}:")
    w.do(f"br label %head{n}")
    for (line, phi, kind, value), update in zip(slots, [following, *new], strict=True):
        w.lines[line] = f"  {phi} = phi {kind} [ {value}, %before{n} ], [ {update}, %latch{n} ]"
    w.do(f"done{n}:")
    return phis[1:]
