"""The loop over blocks and time that runs a kernel forward, as an LLVM function."""

from __future__ import annotations

from dmg.engine.llvm_graph import write_graph
from dmg.engine.llvm_kernel import FORWARD, KernelWriter
from dmg.engine.llvm_loop import write_loop
from dmg.engine.llvm_solver import write_solution


def write_forward(w: KernelWriter, keep: bool) -> str:
    """Return the function that runs blocks ``first`` to ``last`` over time.

    ``keep`` writes the states before every ``segment``-th step into ``kept`` [blocks, segments, states, lanes].
    """
    kernel, graph = w.kernel, w.prepared(w.kernel.forward)
    count = len(kernel.states)

    def block(b: str) -> list[str]:
        values = w.begin_block(b)
        states = [(w.vector, w.load(w.elements_at("%start", i))) for i in range(count)]

        def step(t: str, *carried: str) -> list[str]:
            w.prefetch_rows(t, 1)
            known = values | dict(zip((f"s:{n}" for n in kernel.states), carried, strict=True)) | w.begin_step(t)
            out = write_graph(w, graph, known | write_solution(w, known))
            for i, n in enumerate(kernel.fluxes):
                row = w.flux_row(t, i)
                if kernel.components:
                    w.store(out[f"f:{n}"], w.address("%flux", f"{row}*%elements", "%offset"))
                    continue
                total = w.sum_sites(out[f"f:{n}"])
                total = total if n in kernel.weighted else w.mean(total)
                w.store_sites(total, "%flux", f"{row}*%columns", "%site" if w.parts == 1 else b)
            return [out[f"s:{n}"] for n in kernel.states]

        def segment(index: str, *carried: str) -> list[str]:
            begin = w.integer(f"mul {index}, %segment")
            end = w.smaller(w.integer(f"add {begin}, %segment"), "%steps")
            for i, value in enumerate(carried):
                w.store(value, w.kept_at(index, i, count))
            return write_loop(w, begin, end, [(w.vector, v) for v in carried], step)

        stop, body = (w.segments(), segment) if keep else ("%steps", step)
        final = write_loop(w, "0", stop, states, body)
        for i, value in enumerate(final):
            w.store(value, w.elements_at("%end", i))
        return []

    return w.function("forward", FORWARD, lambda: write_loop(w, "%first", "%last", [], block))
