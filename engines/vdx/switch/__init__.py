"""A switch's words become facts: configuration, interfaces, fabric."""
