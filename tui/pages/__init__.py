"""The pages of the wizard frame, in the order they are met."""
