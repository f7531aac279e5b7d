"""Lambda events: batches of messages, and who is calling. Every engine's messages arrive as records of SQS's event."""
