"""A Ctrl-C that Python drops is still heard."""

import signal
import threading

import pytest

from dmg.core.utils.interruption import check_interruption, interruptible


def lose_an_interrupt() -> None:
    class Raises:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    Raises()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_lost_interrupt_is_heard_at_the_next_check():
    outer = pytest.raises(KeyboardInterrupt)
    with outer, interruptible():
        lose_an_interrupt()
        with pytest.raises(KeyboardInterrupt):
            check_interruption()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_lost_interrupt_is_heard_at_the_end():
    with pytest.raises(KeyboardInterrupt), interruptible():
        lose_an_interrupt()


def test_handler_of_before_is_restored_and_nothing_remembered():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    check_interruption()
    with interruptible():
        check_interruption()


def test_thread_leaves_signals_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
