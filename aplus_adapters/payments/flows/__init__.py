"""Ring 1: what happens to a payment, step by step: each step is a generator of effects."""
