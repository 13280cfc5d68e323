"""Small worlds, one file each. Each states its own best achievable answer."""
