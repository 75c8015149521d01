"""The command `aplus doctor`: what is wrong with a set-up, and what is left before going live."""
