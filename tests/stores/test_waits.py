"""A task that waits for its turn waits no longer than it may, and gives the turn back."""

import asyncio

from sqlalchemy.util import greenlet_spawn

from aplus_adapters.stores.waiting import turn_of_task


def test_a_task_that_waits_in_vain_is_told_so_and_gives_nothing_back():
    async def main():
        lock = asyncio.Lock()
        await lock.acquire()
        async with asyncio.timeout(10):
            assert await greenlet_spawn(has_turn, lock) is False
        assert lock.locked()  # the holder's
        lock.release()
        assert await greenlet_spawn(has_turn, lock) is True
        assert not lock.locked()

    asyncio.run(main())


def has_turn(lock):
    with turn_of_task(lock, 0.01) as is_held:
        return is_held
