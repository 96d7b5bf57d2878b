"""`mesh demo`: several devices on one machine, each a process of its own."""
