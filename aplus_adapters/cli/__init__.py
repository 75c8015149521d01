"""The command `aplus`: a simulator, a demonstration shop, and what operators need."""
