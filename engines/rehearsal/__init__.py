"""Embedded lab targets: everything a technician can practise on without a customer's machine."""
