"""Ring 2: the web layer, which knows no framework."""
