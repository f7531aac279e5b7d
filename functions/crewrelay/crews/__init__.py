"""The crews, and what runs them. The catalogue is light; everything else here imports CrewAI."""
