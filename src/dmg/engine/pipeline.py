"""Stages that run side by side on threads, each as far as those that it needs have come."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import partial

Stage = Hashable
# What is done, what it advances, and how far which other stages must have come.
Task = tuple[Callable[[], None], Stage, dict[Stage, int]]


def run_pipeline(workers: Iterable[Iterable[Task]]) -> None:
    """Run the tasks of every worker in order, one thread for each.

    Parameters
    ----------
    workers
        For each its tasks: a function, the stage that it advances by one, and the count that other stages must have
        reached before it may begin.
    """
    workers = [list(tasks) for tasks in workers]
    if len(workers) == 1:
        for function, _, _ in workers[0]:
            function()
        return
    done: Counter[Stage] = Counter()
    changed, failures = threading.Condition(), []

    def ready(needed: dict[Stage, int]) -> bool:
        return bool(failures) or all(done[stage] >= count for stage, count in needed.items())

    def work(tasks: list[Task]) -> None:
        try:
            for function, stage, needed in tasks:
                with changed:
                    changed.wait_for(partial(ready, needed))
                    if failures:
                        return
                function()
                with changed:
                    done[stage] += 1
                    changed.notify_all()
        except BaseException as error:
            with changed:
                failures.append(error)
                changed.notify_all()

    threads = [threading.Thread(target=work, args=(tasks,), name="dmg") for tasks in workers]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as interruption:
        with changed:
            failures.append(interruption)
            changed.notify_all()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
