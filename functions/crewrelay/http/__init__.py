"""The HTTP face: FastAPI apps, wire schemas, problem+json. The only importer of fastapi."""
