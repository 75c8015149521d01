"""The command that Django finds here."""
