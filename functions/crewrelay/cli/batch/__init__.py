"""`crewrelay batch`: a file of topics becomes jobs, and their results a file."""
