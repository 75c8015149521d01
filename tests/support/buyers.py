"""A shop that knows its buyers' data, which nobody else may see."""

from attrs import evolve

from aplus_adapters import Buyer, Shipping
from aplus_adapters.messages import Address, UserName
from aplus_adapters.testing.served_shop import RecordingShop
from support.leaks import BUYER

NAME, MAIL, PHONE, STREET = BUYER


def the_buyer():
    name = UserName(full_name=NAME)
    buyer = Buyer(reference_buyer_id="B-1", buyer_name=name, buyer_email=MAIL, buyer_phone_no=PHONE)
    address = Address(region="JP", city="Tokyo", address1=STREET)
    shipping = Shipping(shipping_name=name, shipping_address=address, shipping_phone_no=PHONE)
    return buyer, shipping


class KnowsTheBuyer(RecordingShop):
    def load_order(self, details):
        buyer, shipping = the_buyer()
        order = super().load_order(details)
        return order and evolve(order, buyer=buyer, shipping=shipping)
