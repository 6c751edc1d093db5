"""Configuration: the schema, its checks, and the configurations that ship with the package."""
