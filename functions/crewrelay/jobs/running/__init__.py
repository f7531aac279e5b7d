"""One attempt at a job: claim it, run its crew, journal its calls, keep the lease, write the outcome."""
