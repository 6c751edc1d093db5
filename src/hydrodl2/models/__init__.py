"""Process models of hydrology."""
