"""Ask a database for many rows at once, where many tasks ask for one row each.

A task asks at once if few questions are on their way. Otherwise it waits until one is answered, and
all that wait by then are asked in one question. So 200 pages that poll need a few connections,
however slowly the database answers, and no row is older than its question.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = ["Batches"]

_QUESTIONS = 4  # on their way at once
_MOST = 256  # keys of one question, a power of two


@define
class _Waiting:
    """Who waits in one event loop."""

    answers: dict[str, asyncio.Future[Any]] = Factory(dict)
    asking: int = 0  # tasks that still look for who waits
    tasks: set[asyncio.Task[None]] = Factory(set)  # kept, as the event loop does not keep them


class Batches:
    """Looks up rows by their keys; `read` returns those that there are, by key."""

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, Any]]]) -> None:
        self._read = read
        self._of_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = (
            weakref.WeakKeyDictionary()
        )

    async def get(self, key: str) -> Any:
        """Return the row with this key, None if there is none; raise what `read` raises."""
        loop = asyncio.get_running_loop()
        waiting = self._of_loop.setdefault(loop, _Waiting())
        answer = waiting.answers.get(key)
        if answer is None:
            answer = waiting.answers[key] = loop.create_future()
            if waiting.asking < _QUESTIONS:
                waiting.asking += 1
                task = loop.create_task(self._ask(waiting))
                waiting.tasks.add(task)
                task.add_done_callback(waiting.tasks.discard)
        # Shielded: a task that is cancelled leaves the answer to the others that wait for it.
        return await asyncio.shield(answer)

    async def _ask(self, waiting: _Waiting) -> None:
        try:
            await self._ask_for_all(waiting)
        finally:
            # At once, and not when the task is found done: who asks until then would wait for ever.
            waiting.asking -= 1

    async def _ask_for_all(self, waiting: _Waiting) -> None:
        while waiting.answers:
            keys = [*waiting.answers][:_MOST]
            answers = {key: waiting.answers.pop(key) for key in keys}
            try:
                rows = await self._read(_padded(keys))
            except asyncio.CancelledError:  # the event loop ends
                for answer in answers.values():
                    answer.cancel()
                raise
            except Exception as error:
                for answer in answers.values():
                    answer.set_exception(error)
                    answer.exception()  # its task may have been cancelled: then nobody asks for it
            else:
                for key, answer in answers.items():
                    answer.set_result(rows.get(key))


def _padded(keys: Sequence[str]) -> list[str]:
    """Return the keys, the last one repeated to a power of two, so that few statements differ.

    A driver prepares each of them once for each connection.
    """
    size = 1 << (len(keys) - 1).bit_length()
    return [*keys, *[keys[-1]] * (size - len(keys))]
