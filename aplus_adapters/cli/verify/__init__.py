"""The command `aplus verify`: why the signature of a captured message does not match."""
