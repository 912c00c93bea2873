"""Large reads and writes leave the page cache and the memory of the host as they were."""
