"""The commands of whoever operates a deployment."""
