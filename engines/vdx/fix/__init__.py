"""A port is brought up by the plan, step by step, across a reboot."""
