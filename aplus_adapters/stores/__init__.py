"""Ring 2: where attempts are kept."""
