"""Every guest of every hypervisor, every night, and the truth about it in the morning."""
