"""What a crew searches and cites."""
