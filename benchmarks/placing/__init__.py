"""Random households, simple rules of placement, and what each comes to beside the mesh's plan."""
