"""The commands about the stack on this machine."""
