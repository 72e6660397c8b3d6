"""What each forge signs and says, as pure functions of headers, body and secrets."""
