"""The screens around the wizard frame."""
