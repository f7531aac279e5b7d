"""What commands print: text for people, JSON for programs. Nothing that is shown can steer a terminal."""
