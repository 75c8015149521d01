"""Ring 2: performs the effects of flows, blocking or awaiting."""
