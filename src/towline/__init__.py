"""Towline: what runs follows Git, within a second of the push."""

__version__ = "0.1.0"
