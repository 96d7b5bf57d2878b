"""What a soak is made of: users, and a watch on memory."""
