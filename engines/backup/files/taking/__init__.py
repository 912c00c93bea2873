"""Files leave a point into a folder or an archive, each whole or not at all."""
