"""The HBV family."""
