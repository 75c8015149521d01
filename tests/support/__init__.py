"""What several tests need: shops, clocks, gateways, worlds, servers and databases."""
