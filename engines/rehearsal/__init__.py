"""Lab targets that tasks are rehearsed on: made on the spot, thrown away afterwards."""
