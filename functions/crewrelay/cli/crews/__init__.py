"""The commands about crews."""
