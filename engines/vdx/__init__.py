"""A VDX port that is "line protocol down (ISL DOWN)": why, and the fix that keeps the switch's configuration."""
