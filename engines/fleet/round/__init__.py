"""A round at work: jobs handed out within the limits, followed, tried again."""
