"""Files in and out: what a file holds, where its rows go, and what is written to one."""
