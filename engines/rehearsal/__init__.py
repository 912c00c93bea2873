"""Embedded lab targets: something to try each task on without a patient."""
