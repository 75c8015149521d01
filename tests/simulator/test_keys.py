"""Several clients with keys of their own, several keys of Alipay+'s, and both changing."""

import pytest
from attrs import evolve

from aplus_adapters import Amount, OutcomeUnknown, PrivateKey, Rejected
from aplus_adapters.errors import ConfigurationError
from aplus_adapters.messages import Env, InquiryRequest, Order, PayRequest
from aplus_adapters.protocol.keys import KeyRing
from aplus_adapters.simulator.identity import CLIENT_ID, Identity


def request_of(account, request_id="pay-1"):
    return PayRequest(
        order=Order(
            reference_order_id="A-1",
            order_description="2 tickets",
            order_amount=Amount("USD", 4200),
            env=Env(user_agent="Mozilla/5.0"),
        ),
        payment_request_id=request_id,
        payment_amount=Amount("USD", 4200),
        payment_notify_url=account.notify_url,
    )


def pay(world, account, request_id="pay-1"):
    with world.client(account) as client:
        return client.pay(request_of(account, request_id))


@pytest.fixture
def identity(world):
    return world.alipayplus.identity


def test_two_clients_have_their_own_keys_and_do_not_see_each_others_orders(
    world, identity, our_key
):
    first = world.simulator.account
    second = evolve(first, client_id="SECOND", private_key=our_key)
    identity.set_client("SECOND", {"1": our_key.public_key.to_base64()})
    pay(world, first, "only-first")
    one, other = pay(world, first), pay(world, second)  # the same id, two orders
    assert one.payment_id != other.payment_id
    assert len(world.alipayplus.books.orders) == 3
    with world.client(second) as client:
        with pytest.raises(Rejected, match="ORDER_NOT_EXIST"):
            client.inquire(InquiryRequest(payment_request_id="only-first"))
        inquiry = client.inquire(InquiryRequest(payment_request_id="pay-1"))
        assert inquiry.payment_id == other.payment_id
    notification = world.alipayplus.notifier.make(
        world.alipayplus.books.by_payment_id[other.payment_id]
    )
    assert notification.headers["Client-Id"] == "SECOND"


def test_a_client_signs_with_any_of_its_keys_until_the_old_one_is_taken_away(
    world, identity, our_key
):
    old = world.simulator.account
    new = evolve(old, private_key=our_key, key_version="2")
    keys = {"1": old.private_key.public_key.to_base64(), "2": our_key.public_key.to_pem()}
    with pytest.raises(OutcomeUnknown, match="INVALID_SIGNATURE"):
        pay(world, new)
    identity.set_client(CLIENT_ID, keys)
    assert pay(world, old, "a").payment_id
    assert pay(world, new, "b").payment_id
    assert pay(world, evolve(new, key_version="7"), "c").payment_id  # the version decides nothing
    identity.set_client(CLIENT_ID, {"2": keys["2"]})
    with pytest.raises(OutcomeUnknown, match="INVALID_SIGNATURE"):
        pay(world, old, "d")
    identity.set_client(CLIENT_ID, {})
    with pytest.raises(OutcomeUnknown, match="KEY_NOT_FOUND"):
        pay(world, new, "e")


def test_a_shop_with_both_keys_of_alipayplus_goes_through_its_rotation(world, identity):
    attempt = world.start()
    version = identity.rotate()
    assert version == "2"
    assert world.decide(attempt) == ["HTTP 401"]  # the shop knows the old key alone
    assert world.shop.changes == []
    account = world.pay.config.accounts[CLIENT_ID]
    both = evolve(account, alipayplus_keys=KeyRing.of(identity.public_keys))
    world.pay.config.accounts[CLIENT_ID] = both
    world.simulator.clock.advance(minutes=2)
    assert [sent.outcome for sent in world.simulator.deliveries][-1] == "acknowledged"
    assert world.shop.changes == [("A-1", "succeeded")]


def test_a_new_folder_is_kept_out_of_git_and_one_that_was_there_is_left_alone(tmp_path):
    for folder, made in (("new", True), ("old", False)):
        if not made:
            (tmp_path / folder).mkdir()
        Identity.open(tmp_path / folder, "http://127.0.0.1:1")
        assert (tmp_path / folder / ".gitignore").exists() is made


@pytest.mark.parametrize("keys", [{"1": "no key"}, {"": "x"}, {"1": None}])
def test_what_is_no_key_is_refused(identity, keys):
    with pytest.raises(ConfigurationError):
        identity.set_client("OTHER", keys)
    assert "OTHER" not in identity.clients


def test_clients_and_rotated_keys_are_still_there_after_a_restart(tmp_path, our_key):
    first = Identity.open(tmp_path, "http://127.0.0.1:8100")
    first.set_client("SECOND", {"1": our_key.public_key.to_base64()})
    first.rotate()
    again = Identity.open(tmp_path, "http://127.0.0.1:8100")
    assert again.key_version == "2"
    assert again.private_key == first.private_key
    assert again.clients == first.clients
    settings = (tmp_path / "shop.env").read_text()
    assert "APLUS_PUBLIC_KEY_2_FILE=" in settings
    assert (tmp_path / "alipayplus_private_2.pem").stat().st_mode & 0o077 == 0
    (tmp_path / "keys.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"keys\.json cannot be read"):
        Identity.open(tmp_path, "http://127.0.0.1:8100")


def test_a_stranger_is_nobody_of_the_ring(identity):
    signature = Identity.of_a_stranger().sign(CLIENT_ID, "/x", "t", b"{}")
    assert identity.verify_own(signature, b"POST /x\nt").startswith("not valid")
    assert identity.verify_own(None, b"") == "not signed"
    assert isinstance(identity.private_key, PrivateKey)
