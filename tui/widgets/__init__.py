"""Widgets that read well in 16 colours, in none, and in ASCII."""
