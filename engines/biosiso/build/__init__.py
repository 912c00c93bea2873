"""A disc is planned, made, tried and put in place."""
