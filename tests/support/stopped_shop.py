"""Run an example's shop and die at one statement of a notification after another.

    python stopped_shop.py MODULE FILE

FILE holds notifications as JSON. For the first one a fork of this process dies at its first
statement or COMMIT, for the second at the second, and so on. The last fork answers. What each did is
printed: `died`, or the status of its answer.
"""

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path

from sqlalchemy import Engine, event


def main(module, file):
    shop = importlib.import_module(module)
    for number, notification in enumerate(json.loads(Path(file).read_text()), 1):
        child = os.fork()
        if child == 0:
            die_at(number)
            print(asyncio.run(notify(shop.app, notification)), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != 9:
            sys.exit(code)
        print("died", flush=True)


def die_at(number):
    """End this process at that statement or COMMIT of any engine."""
    seen = 0

    def count(*_):
        nonlocal seen
        seen += 1
        if seen == number:
            os._exit(9)

    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", count)


async def notify(app, notification):
    """Return the status of the answer to a notification."""
    import httpx

    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://shop.example") as client,
    ):
        answer = await client.post(
            notification["path"],
            content=notification["body"].encode(),
            headers=notification["headers"],
        )
        return answer.status_code


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
