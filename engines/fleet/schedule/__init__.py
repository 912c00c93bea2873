"""What is due and when, from rules, a clock that is handed in and what was done before; it touches nothing."""
