"""Protocols of other platforms' clients, each a module that translates it onto the calls that our own routes make."""
