"""A local Alipay+: gateway, wallet and notifications, so that everything runs without credentials."""
