"""Ecosystem models for δMG."""
