"""A repository's files are kept, here or far away, whole or not at all."""
