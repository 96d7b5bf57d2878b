"""Messages ⇄ bytes, and the code generated from protos/."""
