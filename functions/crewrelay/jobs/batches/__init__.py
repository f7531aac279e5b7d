"""Many jobs of one request or of one uploaded file."""
