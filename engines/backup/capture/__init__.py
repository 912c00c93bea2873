"""One disk is read once against the point before it, and what changed is stored."""
