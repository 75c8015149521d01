"""Play Alipay+ against a shop that runs somewhere, over the wire alone, and judge what it does."""
