"""Real clients make one visit each and say when they were served."""
