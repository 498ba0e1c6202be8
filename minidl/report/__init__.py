"""How people see a plan: table, drawing, page, explanation. Pure functions of a plan."""
