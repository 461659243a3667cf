"""Message transport: client registry, dispatch, bounded reply fetching."""
