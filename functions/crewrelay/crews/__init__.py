"""The crews, and what runs them. The catalogue and what it reads are light; what builds and runs imports CrewAI."""
