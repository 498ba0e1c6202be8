"""How people see a plan: table, picture, page, explanation. Pure functions of a plan."""
