"""Events in, answers out: turns webhooks and calls into jobs; no Git, no writes to a cluster."""
