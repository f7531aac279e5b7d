"""The HTTP API: FastAPI apps, schemas, problem+json. Nothing else imports fastapi."""
