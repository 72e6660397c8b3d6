"""The jobs, in the order a push meets them; listens on no socket."""
