"""From the accepted updates of a round to the next adapter."""
