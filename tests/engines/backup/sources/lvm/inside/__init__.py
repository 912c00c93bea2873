"""What runs inside the test VM: called by name from the tests beside it."""
