"""With this folder on PYTHONPATH, every process of a test knows the lab's task as one of its own."""

from engines import tasks

tasks.TASKS["copy"] = tasks.Task("copytask", "a text file copied with care")
