"""The development database; production runs without it."""
