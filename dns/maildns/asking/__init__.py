"""Questions to the world: authoritative servers, HTTPS and STARTTLS services."""
