"""The messages of the protocol, one module per call."""
