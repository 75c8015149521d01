"""A shop whose store was made, and used, before its server forked: what each buyer is shown.

    forking_shop:application           for gunicorn and uWSGI
    celery -A forking_shop worker      for Celery
    python forking_shop.py BUYERS      for multiprocessing

DATABASE is the address, GIVEN what the store is made of: "address" or the shop's own "engine".
"""

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from celery import Celery
from sqlalchemy import create_engine, text

from aplus_adapters import SQLStore
from aplus_adapters.testing.store_contract import an_attempt, an_observation

address = os.environ["DATABASE"]
if "+psycopg2" in address and "gevent.monkey" in sys.modules:  # what psycogreen does
    from gevent.socket import wait_read, wait_write
    from psycopg2 import extensions

    def wait_for_greenlets(connection):
        while (state := connection.poll()) != extensions.POLL_OK:
            (wait_read if state == extensions.POLL_READ else wait_write)(connection.fileno())

    extensions.set_wait_callback(wait_for_greenlets)
engine = create_engine(address)
store = SQLStore(engine if os.environ["GIVEN"] == "engine" else address)
# The parent leaves connections in the pool, as a look at the database while starting does.
with ThreadPoolExecutor(3) as threads:
    list(threads.map(store.get, ["pay0"] * 3))
with store.engine.begin() as connection:
    connection.execute(text("SELECT 1"))


def hook(_transition, _connection):
    time.sleep(0.02)  # others go on meanwhile, greenlets too


def buy(number):
    """Pay as one buyer; give the process, what the buyer is shown, and whether that settled it."""
    mine = f"pay{number}"
    shown = [store.add(an_attempt(number, f"A-{number}"))]
    transition = store.record(mine, an_observation(), hook)
    shown += [transition.after, store.get(mine), store.latest(f"A-{number}")]
    return [os.getpid(), sorted({one.order_ref for one in shown}), transition.became_final]


def application(environ, start_response):
    body = json.dumps(buy(int(environ["PATH_INFO"].strip("/")))).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


app = Celery("forking_shop")
if "QUEUE" in os.environ:
    folder = os.environ["QUEUE"]
    app.conf.update(
        broker_url="filesystem://",
        broker_transport_options={
            "data_folder_in": folder,
            "data_folder_out": folder,
            "control_folder": folder + "/control",
        },
        broker_connection_retry_on_startup=False,
        worker_hijack_root_logger=False,
    )


@app.task(name="buy")
def buy_in_task(number):
    answer = Path(os.environ["ANSWERS"]) / f"{number}.new"
    answer.write_text(json.dumps(buy(number)))
    answer.rename(answer.with_suffix(""))


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        numbers = range(1, int(sys.argv[1]) + 1)
        print(json.dumps(pool.map(buy, numbers, chunksize=5)))
