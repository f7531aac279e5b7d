"""The passage store on Weaviate."""
