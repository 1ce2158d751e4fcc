"""One trial: the two-phase protocol, its guards, and the path from a spec to a result."""
