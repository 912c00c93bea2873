"""What a controller remembers: rounds, jobs with their tries, and by which name each guest goes."""
