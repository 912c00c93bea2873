"""Who is backed up when, where and why, before anything is done."""
