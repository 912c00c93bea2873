"""Clients meet a dead address in network namespaces that are made for it and removed."""
