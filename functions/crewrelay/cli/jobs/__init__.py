"""The commands about the jobs of a deployment, or of `crewrelay serve`."""
