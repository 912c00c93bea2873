"""Editors of configuration lines: text in, text out; what does not name the disk stays byte for byte."""
