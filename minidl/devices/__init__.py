"""Where a plan runs. A device carries out; it decides nothing."""
