"""Whether a site with several addresses survives one of them going dark, and what its visitors see."""
