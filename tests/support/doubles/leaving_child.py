"""A child of the stack that ends at once, and leaves a process behind that holds its output."""

import os
import subprocess

print("beginning")
print("ready 1", flush=True)
left = subprocess.Popen(["sleep", "60"])
print(left.pid, flush=True)
os._exit(75)
