"""The towline command."""
