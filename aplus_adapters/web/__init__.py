"""Ring 2: the framework-neutral web layer."""
