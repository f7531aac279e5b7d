"""What is stored, as rows and values, and pure functions that say what happens to them."""
