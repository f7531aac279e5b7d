"""Projects that `crewai create` made: loading, checking, rehearsing them."""
