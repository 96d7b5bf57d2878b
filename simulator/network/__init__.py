"""A virtual network: hosts, paths between them, and what befalls both."""
