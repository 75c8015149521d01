"""Run `python -m aplus_adapters.cli`, which is the command `aplus`."""

from aplus_adapters.cli.main import main

main()
