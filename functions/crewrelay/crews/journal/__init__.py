"""Everything that a run asks goes through its journal, whoever built the object that asks."""
