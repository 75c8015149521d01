"""A local Alipay+, so that everything runs without credentials: gateway and wallet."""
