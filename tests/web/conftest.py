"""The noting shop, served in every form."""

import pytest

from aplus_adapters.testing.served_shop import ServedShop
from support.forms import FORMS


@pytest.fixture(scope="session", params=FORMS)
def served(request, tmp_path_factory, simulator, simulated_account, simulated_alipayplus):
    tmp = tmp_path_factory.mktemp(request.param)
    database = tmp / "shop.db"
    with FORMS[request.param](database, simulated_account, tmp, simulator) as client:
        shop = ServedShop(request.param, client, database, simulated_alipayplus, simulator)
        yield shop
        shop.store.close()
