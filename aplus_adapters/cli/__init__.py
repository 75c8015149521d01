"""The command `aplus`: a simulator, a demonstration shop and the operators' commands."""
