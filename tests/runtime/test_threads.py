"""The threads in which a plain shop's calls run, under an ASGI application."""

from concurrent.futures import wait
from threading import Event, Thread

import pytest

from aplus_adapters.runtime.threads import OwnThreads


def test_what_a_call_returns_and_raises_comes_back():
    threads = OwnThreads(2, "ours")
    assert threads.submit(lambda: 7).result(5) == 7
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(5)


def test_a_call_for_which_the_system_has_no_thread_fails_and_the_next_is_tried(monkeypatch):
    threads = OwnThreads(1, "ours")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no more")))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no more"):
                threads.submit(lambda: 7).result(5)
    assert threads.submit(lambda: 7).result(5) == 7


def test_calls_that_wait_for_a_thread_fail_too_if_there_is_none_any_more(monkeypatch):
    threads, goes_on = OwnThreads(1, "ours"), Event()
    running = threads.submit(lambda: goes_on.wait(5))
    waiting = [threads.submit(lambda: 7) for _ in range(2)]
    monkeypatch.setattr(Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no more")))
    goes_on.set()
    assert running.result(5) is True
    wait(waiting, 5)
    assert [str(future.exception(0)) for future in waiting] == ["no more", "no more"]


def test_what_was_given_before_the_end_is_done_and_nothing_after_it():
    threads, goes_on = OwnThreads(1, "ours"), Event()
    calls = [threads.submit(lambda: goes_on.wait(5)), threads.submit(lambda: True)]
    threads.close()
    with pytest.raises(RuntimeError, match="closed"):
        threads.submit(lambda: 7)
    goes_on.set()
    assert [future.result(5) for future in calls] == [True, True]
