"""Ring 2: does what flows ask for, blocking or awaiting."""
