"""The promises of a store, kept by the one that awaits, with each driver."""

import pytest

from aplus_adapters import AsyncSQLStore
from aplus_adapters.testing.async_store_contract import AsyncPaymentStoreContract
from support.databases import AWAITING, ready_awaiting_database


@pytest.mark.parametrize("driver", AWAITING)
class TestOurAwaitingStore(AsyncPaymentStoreContract):
    @pytest.fixture
    def async_store(self, driver, tmp_path, request):
        with ready_awaiting_database(driver, tmp_path, request) as address:
            yield AsyncSQLStore(address)


@pytest.mark.parametrize("driver", AWAITING)
class TestTheShopsOwnSessions(AsyncPaymentStoreContract):
    @pytest.fixture
    def async_store(self, driver, tmp_path, request):
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

        class Store(AsyncSQLStore):
            async def aclose(self):
                await engine.dispose()  # in the loop that opened its connections

        with ready_awaiting_database(driver, tmp_path, request) as address:
            engine = create_async_engine(address)
            yield Store(async_sessionmaker(engine))
