"""The truth about a night: who has a whole backup, told on the terminal, as a report, as metrics and as notices."""
