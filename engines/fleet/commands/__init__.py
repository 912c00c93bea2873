"""One file a verb of crashcart fleet."""
