"""A local Alipay+ with gateway and wallet, so that everything runs without credentials."""
