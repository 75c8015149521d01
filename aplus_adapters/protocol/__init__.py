"""Ring 0: what Alipay+ says. Bytes and values only: no clock, no I/O, no HTTP library."""
