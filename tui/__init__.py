"""The suite's screens: they show plans and events, and never touch the machine themselves."""
