"""Virtual devices and the virtual world between them."""
