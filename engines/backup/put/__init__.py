"""Files of a restore point back into a stopped guest's image, whole and undoable, or not at all."""
