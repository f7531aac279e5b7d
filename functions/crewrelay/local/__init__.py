"""The stack on one machine: what API Gateway, Lambda's event source mappings and AWS itself do in production."""
