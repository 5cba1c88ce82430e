"""Our rules beside a function flow in JavaScript and a formulation in SQL: same rules and data."""
