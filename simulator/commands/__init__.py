"""The commands of `mesh-sim`, one a module, and what they share."""
