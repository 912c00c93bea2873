"""The fleet on one page: a row a guest, those that somebody must see to first."""
