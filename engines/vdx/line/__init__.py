"""One line to a switch: logged in, prompts known, every word of it kept."""
