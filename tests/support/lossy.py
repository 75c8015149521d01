"""A network that loses answers: a TCP proxy on the loopback interface before the gateway."""

import asyncio
import contextlib
import random
import socket
import struct
import threading


class LossyProxy:
    """Forwards each request and then, by chance, loses, cuts or delays what comes back.

    `lost` and `reset` are the parts of the answers that never arrive: half of the lost ones by a
    connection that closes, half by silence.
    """

    def __init__(self, target, lost, reset, seed):
        host, _, port = target.removeprefix("http://").rpartition(":")
        self._target = (host, int(port))
        self._lost, self._reset = lost, reset
        self._chance = random.Random(seed)
        self.outcomes = {"passed": 0, "closed": 0, "silent": 0, "reset": 0}
        self._tasks = set()  # the loop itself forgets one that waits for a lost connection
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_):
        async def end():
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
            try:
                await self._exchange(reader, writer, upstream_reader, upstream_writer)
            finally:
                upstream_writer.close()
                writer.close()

    async def _exchange(self, reader, writer, upstream_reader, upstream_writer):
        while request := await _message(reader):
            draw = self._chance.random()
            if draw < self._reset / 2:  # before the gateway hears of it
                return self._cut(writer)
            upstream_writer.write(request)
            await upstream_writer.drain()
            answer = await _message(upstream_reader)
            if draw < self._reset:
                return self._cut(writer)
            if draw < self._reset + self._lost / 2:
                self.outcomes["closed"] += 1
                return None
            if draw < self._reset + self._lost:
                self.outcomes["silent"] += 1
                await reader.read()  # until the other side gives up
                return None
            self.outcomes["passed"] += 1
            await asyncio.sleep(self._chance.random() * 0.03)
            writer.write(answer)
            await writer.drain()
        return None

    def _cut(self, writer):
        self.outcomes["reset"] += 1
        wire = writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _message(reader):
    """Read one HTTP message with a Content-Length; empty at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = await reader.readline()
        if not line:
            return b""
        head += line
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + await reader.readexactly(length)
