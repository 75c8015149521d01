"""Ring 1: the life of a payment. Pure: flows are generators that yield what they need done."""
