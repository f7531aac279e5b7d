"""Programs of other environments: each uses a client as its documentation says, and prints what came of it as JSON."""
