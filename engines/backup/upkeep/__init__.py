"""Whether a repository is whole is found out, and what of it may go is taken away."""
