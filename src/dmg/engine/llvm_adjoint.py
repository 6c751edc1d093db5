"""The loop over blocks that walks a kernel back in time, as an LLVM function."""

from __future__ import annotations

from dmg.engine.llvm_graph import FLAGS, write_graph
from dmg.engine.llvm_kernel import ADJOINT, KernelWriter
from dmg.engine.llvm_loop import write_loop
from dmg.engine.llvm_solver import write_solution
from dmg.engine.wanted import Wanted


def write_adjoint(w: KernelWriter, wanted: Wanted, sparse: bool) -> str:
    """Return the function that walks blocks ``first`` to ``last`` back in time, from kept states and cotangents.

    Parameters
    ----------
    w
        Writer of the kernel.
    wanted
        Gradients to compute.
    sparse
        Whether only the states of every ``segment``-th step were kept: those between are computed again, a segment at
        a time, together with the costly numbers that the way back needs.
    """
    kernel = w.kernel
    count = len(kernel.states)
    names = wanted.names(kernel)
    summed = [*names["p"], *names["w"], *names["u"]]
    graph = w.prepared(kernel.adjoint([n for group in names.values() for n in group], kept=sparse))
    again = w.prepared(kernel.again)
    stored = [f"s:{n}" for n in kernel.states] + ([f"k:{i}" for i in range(len(kernel.costly))] if sparse else [])

    def block(b: str) -> list[str]:
        values = w.begin_block(b)
        zero = w.constant(0.0)
        lambdas = [(w.vector, w.load(w.elements_at("%grad_end", i))) for i in range(count)]
        carried = [*lambdas, *((w.vector, zero) for _ in summed)]
        # An implicit step is differentiated at the state after it, where the way back has just been.
        carried += [(w.vector, w.load(w.elements_at("%end", i))) for i in range(count) if kernel.solver]

        def back(t: str, *carried: str, known: dict[str, str]) -> list[str]:
            w.prefetch_rows(t, -1, written=len(names["r"]))
            known = values | w.begin_step(t) | known
            known |= dict(zip((f"c:s:{n}" for n in kernel.states), carried[:count], strict=True))
            later = carried[count + len(summed) :]
            known |= dict(zip((f"n:{n}" for n in kernel.states), later, strict=bool(later)))
            known |= _cotangents(w, t)
            out = write_graph(w, graph, known)
            for i, n in enumerate(names["r"]):
                w.store_dynamic(out[f"d:{n}"], t, i)
            for i, n in enumerate(names["x"]):
                row = w.flux_row(t, i)
                column = "%site" if w.parts == 1 else b
                w.store_sites(w.sum_sites(out[f"d:{n}"]), "%grad_forcing", f"{row}*%columns", column)
            new = [out[f"d:s:{n}"] for n in kernel.states]
            for total, n in zip(carried[count:], summed, strict=not later):
                new.append(w.emit(f"fadd {FLAGS} {w.vector} {total}, {out[f'd:{n}']}"))
            return new + [known[f"s:{n}"] for n in kernel.states if later]

        def kept(index: str) -> list[str]:
            return [w.load(w.kept_at(index, i, count)) for i in range(count)]

        def step_back(t: str, *carried: str) -> list[str]:
            return back(t, *carried, known=dict(zip(stored, kept(t), strict=True)))

        def segment(index: str, *carried: str) -> list[str]:
            begin = w.integer(f"mul {index}, %segment")
            end = w.smaller(w.integer(f"add {begin}, %segment"), "%steps")

            def forth(t: str, *states: str) -> list[str]:
                now = values | dict(zip((f"s:{n}" for n in kernel.states), states, strict=True)) | w.begin_step(t)
                out = write_graph(w, again, now | write_solution(w, now))
                numbers = [*states, *(out[n] for n in stored[count:])]
                for number, pointer in zip(numbers, _scratch(w, t, begin, len(stored)), strict=True):
                    w.store(number, pointer)
                return [out[f"s:{n}"] for n in kernel.states]

            def from_scratch(t: str, *carried: str) -> list[str]:
                numbers = [w.load(pointer) for pointer in _scratch(w, t, begin, len(stored))]
                return back(t, *carried, known=dict(zip(stored, numbers, strict=True)))

            write_loop(w, begin, end, [(w.vector, value) for value in kept(index)], forth)
            last, stop = w.integer(f"sub {end}, 1"), w.integer(f"sub {begin}, 1")
            return write_loop(w, last, stop, [(w.vector, value) for value in carried], from_scratch, -1)

        newest = w.integer(f"sub {w.segments()}, 1")
        final = write_loop(w, newest, "-1", carried, segment if sparse else step_back, -1)
        for i in range(count):
            w.store(final[i], w.elements_at("%grad_start", i))
        total = dict(zip(summed, final[count : count + len(summed)], strict=True))
        if names["p"]:
            raw = {f"r:{n}": values[f"r:{n}"] for n in kernel.static}
            out = write_graph(w, w.prepared(kernel.epilogue), raw | {f"d:{n}": total[n] for n in names["p"]})
            for i, n in enumerate(kernel.static):
                w.store(out[f"d:r:{n}"], w.elements_at("%grad_static", i))
        for i, n in enumerate(names["w"]):
            w.store(total[n], w.elements_at("%grad_weights", i))
        for i, n in enumerate(names["u"]):
            w.store(total[n], w.elements_at("%grad_uniforms", i))
        return []

    return w.function("adjoint", ADJOINT, lambda: write_loop(w, "%first", "%last", [], block))


def _cotangents(w: KernelWriter, t: str) -> dict[str, str]:
    """Load the gradients of the fluxes of a step."""
    found = {}
    for i, n in enumerate(w.kernel.fluxes):
        row = w.flux_row(t, i)
        if w.kernel.components:
            found[f"c:f:{n}"] = w.load(w.address("%grad_flux", f"{row}*%elements", "%offset"))
            continue
        cotangent = w.load_sites("%grad_flux", f"{row}*{w.integer(f'udiv %columns, {w.parts}')}", "%site")
        found[f"c:f:{n}"] = cotangent if n in w.kernel.weighted else w.mean(cotangent)
    return found


def _scratch(w: KernelWriter, t: str, begin: str, count: int) -> list[str]:
    """Return where the scratch memory of the thread has the numbers of a step."""
    row = w.integer(f"mul {w.integer(f'sub {t}, {begin}')}, {count * w.lanes}")
    return [w.address("%scratch", row, str(i * w.lanes)) for i in range(count)]
