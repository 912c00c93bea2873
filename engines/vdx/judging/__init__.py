"""What was seen on two switches becomes a verdict, its hazards and a plan."""
