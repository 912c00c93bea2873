"""Restore points opened like folders: one tree over any driver, read-only, every byte proven."""
