"""The commands about documents and collections."""
