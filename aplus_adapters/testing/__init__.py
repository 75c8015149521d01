"""Contract suites for stores and adapters, and Alipay+'s signer, for a shop's own tests."""
